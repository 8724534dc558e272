"""Every training layout with its generation layouts on a few devices."""

from collections.abc import Iterator

from planner.domain.parallelism import GenerationStrategy, ParallelStrategy


def layouts(devices: int, *, stages: bool = False) -> Iterator[tuple[ParallelStrategy, GenerationStrategy]]:
    """(p, t, d) of exactly so many devices, each with every t_g that divides t.

    Parameters
    ----------
    stages
        Whether also with every p_g that divides p.
    """
    for pipeline in _divisors(devices):
        for tensor in _divisors(devices // pipeline):
            train = ParallelStrategy(pipeline=pipeline, tensor=tensor, data=devices // pipeline // tensor)
            for generation_pipeline in _divisors(pipeline) if stages else [1]:
                for generation_tensor in _divisors(tensor):
                    yield (
                        train,
                        GenerationStrategy(
                            pipeline=generation_pipeline,
                            tensor=generation_tensor,
                            replicas=devices // generation_pipeline // generation_tensor,
                            max_sequences=4,
                        ),
                    )


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]
