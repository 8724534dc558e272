"""KIND generation: times to first token and per output token of serving engines under a closed loop."""

from collections.abc import Iterator, Sequence

from planner.calibration.evaluation import Advance, Evaluation, Judged, Skipped
from planner.calibration.rows import Row, parse_all
from planner.calibration.serving import Latencies, Load, closed_loop
from planner.calibration.serving_rows import COLUMNS, Point, engine_of, point_of
from planner.costs.bands import band_of
from planner.costs.serving.engine_step import Engine, cached_bytes
from planner.costs.serving.step_table import step_table
from planner.costs.uncertainty import kernel_uncertainty
from planner.domain.cluster import DeviceSpec
from planner.domain.model import PARAMETER_BYTES
from planner.domain.parallelism import GenerationStrategy

__all__ = ["COLUMNS", "evaluate"]

PROMPTS_PER_STEP = {"trtllm": 1.5}
"""Prompts that one step has room for. Times to the first token show that the engines of these rows are
started with a budget of tokens that grows with the prompt, of about two prompts unless listed."""

KEPT_WAITING = {"trtllm": 1}
"""Requests of the closed loop that always wait: times to the first token of TensorRT-LLM grow by what its
clients need for one request over their number, as if the engine had one place less than there are clients."""

FP8_CHECKPOINT_BYTES = 1
"""Of one weight as an fp8 checkpoint is loaded."""


def evaluate(rows: Sequence[Row], device: DeviceSpec | None, advance: Advance) -> Evaluation:
    """Predict both latencies of every row."""
    found = parse_all(rows, lambda row: (row.line, point_of(row, device)))
    judged: list[Judged] = []
    skipped: list[Skipped] = []
    engines: dict[tuple[str, ...], Engine] = {}
    for line, point in found:
        if isinstance(point, str):
            skipped.append(Skipped(line=line, reason=point))
            advance(1)
            continue
        engine = engines.setdefault(point.engine_key, engine_of(point))
        if cache_tokens(engine, _replica(point)) < point.prompt_tokens + point.response_tokens:
            skipped.append(
                Skipped(line=line, reason=f"no room for a sequence beside {point.precision} weights")
            )
        else:
            judged += _judged(point, predicted(engine, point))
        advance(1)
    return Evaluation(judged=judged, skipped=skipped)


def predicted(engine: Engine, point: Point) -> Latencies:
    """Both latencies of a point on an engine."""
    generate = _replica(point)
    prompts = PROMPTS_PER_STEP.get(engine.stack.name, 2.0)
    load = Load(
        concurrency=point.concurrency,
        prompt_tokens=point.prompt_tokens,
        response_tokens=point.response_tokens,
        slots=max(1, point.concurrency - KEPT_WAITING.get(engine.stack.name, 0)),
        cache_tokens=cache_tokens(engine, generate),
        step_tokens=prompts * point.prompt_tokens,
    )
    return closed_loop(step_table(engine, generate), load)


def _replica(point: Point) -> GenerationStrategy:
    return GenerationStrategy(pipeline=point.pipeline, tensor=point.tensor, max_sequences=1)


def cache_tokens(engine: Engine, generate: GenerationStrategy) -> int:
    """Tokens that the cache has pages for."""
    device = engine.device
    weight_bytes = FP8_CHECKPOINT_BYTES if engine.precision == "fp8" else PARAMETER_BYTES[engine.precision]
    weights = engine.model.parameters() * weight_bytes / (generate.tensor * generate.pipeline)
    room = device.memory * engine.stack.memory_share - device.reserved - weights
    return max(0, int(room // cached_bytes(engine, generate)))


def _judged(point: Point, latencies: Latencies) -> Iterator[Judged]:
    stack = point.stack
    for measure, measured, seconds, record in (
        ("tpot", point.output_token, latencies.output_token, stack.record),
        ("ttft", point.first_token, latencies.first_token, stack.first_token),
    ):
        if measured is None:
            continue
        found = kernel_uncertainty(point.device, record, kernel=stack.name, precision=point.precision)
        low, high = band_of(seconds, found.residuals)
        yield Judged(
            line=point.line,
            source=point.source,
            group=point.group,
            measured=measured,
            predicted=seconds,
            low=float(low),
            high=float(high),
            measure=measure,
        )
