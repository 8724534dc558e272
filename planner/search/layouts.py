"""Layouts that a role may take on so many devices, before anything is costed."""

import math
from collections.abc import Iterator

from planner.domain.cluster import NodePool
from planner.domain.model import ModelSpec
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy


def layouts(model: ModelSpec, node_pool: NodePool, devices: int) -> Iterator[ParallelStrategy]:
    """All (p, t, d) with p t d = devices where t divides the heads and a node's devices, and p <= layers.

    >>> from planner.domain.cluster import NodePool
    >>> from planner.domain.model import ModelSpec
    >>> node_pool = NodePool.model_construct(name="a", nodes=1, devices_per_node=4)
    >>> model = ModelSpec.model_construct(name="m", heads=2, layers=1)
    >>> [str(layout) for layout in layouts(model, node_pool, 4)]
    ['p1t1d4', 'p1t2d2']
    """
    for tensor in divisors(math.gcd(model.heads, node_pool.devices_per_node, devices)):
        for pipeline in divisors(devices // tensor):
            if pipeline <= model.layers:
                data = devices // (tensor * pipeline)
                yield ParallelStrategy(pipeline=pipeline, tensor=tensor, data=data)


def generation_layouts(layout: ParallelStrategy, samples: int) -> Iterator[GenerationStrategy]:
    """All generation strategies on the devices of a layout.

    p_g divides p and t_g divides t, so that each training shard lies inside its generation shard (HybridFlow,
    section 5.3). The fullest replica decodes its ceil(samples / replicas) sequences evenly in some number of
    `waves`.
    """
    for pipeline in divisors(layout.pipeline):
        for tensor in divisors(layout.tensor):
            replicas = layout.devices // (pipeline * tensor)
            sequences = math.ceil(samples / replicas)
            for at_once in dict.fromkeys(math.ceil(sequences / count) for count in waves(sequences)):
                yield GenerationStrategy(
                    pipeline=pipeline, tensor=tensor, replicas=replicas, max_sequences=at_once
                )


def waves(sequences: int) -> list[int]:
    """Numbers of waves that a replica may decode in: 1, 2, 3, 4, 6, 8, 12, 16, ... up to one sequence each.

    >>> waves(10)
    [1, 2, 3, 4, 6, 8, 10]
    """
    power = 1
    counts = {1, sequences}
    while power <= sequences:
        counts |= {power, power * 3 // 2}
        power *= 2
    return sorted(count for count in counts if count <= sequences)


def micro_batches(sequences: int) -> list[int]:
    """Powers of two up to the sequences that a replica passes through its model at once.

    >>> micro_batches(6)
    [1, 2, 4]
    """
    return [2**exponent for exponent in range(max(1, sequences).bit_length())]


def divisors(number: int) -> list[int]:
    """All divisors in rising order.

    >>> divisors(12)
    [1, 2, 3, 4, 6, 12]
    """
    small = [factor for factor in range(1, math.isqrt(number) + 1) if number % factor == 0]
    return sorted({*small, *(number // factor for factor in small)})
