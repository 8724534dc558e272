"""KIND rl: the phases of an iteration of reinforcement learning on colocated devices."""

import math
from collections.abc import Iterator, Mapping, Sequence

from planner.calibration.evaluation import Advance, Evaluation, Judged, Skipped
from planner.calibration.rl_rows import COLUMNS, Iteration, iteration_of
from planner.calibration.rows import Row, parse_all
from planner.costs.bands import Term, sum_band
from planner.costs.passes.inference import inference_seconds
from planner.costs.passes.training import training_seconds
from planner.costs.serving.engine_step import Engine, cached_bytes
from planner.costs.serving.generation import engine_of, generation_seconds, mean_progress
from planner.costs.sync.transition import reshard_seconds
from planner.costs.uncertainty import Uncertainty, kernel_uncertainty
from planner.domain.cluster import DeviceSpec
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy

__all__ = ["COLUMNS", "evaluate"]

SEQUENCES = 1024
"""Running at once on a replica at most (verl's default ``max_num_seqs``)."""
COLOCATED_SHARE = 0.6
"""Of a device's memory, for the weights and the cache of an engine that shares it with a trainer; rows don't
state it (verl's recipes set ``gpu_memory_utilization`` to 0.5 to 0.7)."""
LEAST_CACHE_SHARE = 0.15
"""Of a device's memory, for the cache of a model whose weights leave less; assumed."""
LENGTH_HALF_WIDTHS = {"stated": 0.0, "rate": 0.1, "utilization": 0.15, "assumed": 0.7}
"""90 % half-widths of what an unstated mean length adds, as logarithms; stated."""
UNSTATED_HALF_WIDTH = 0.25
"""The same of what rows leave out: lengths' spread, recomputation, offload, memory share, padding."""


def evaluate(rows: Sequence[Row], device: DeviceSpec | None, advance: Advance) -> Evaluation:
    """Predict every phase that a row states."""
    judged: list[Judged] = []
    skipped: list[Skipped] = []
    for line, found in parse_all(rows, lambda row: (row.line, iteration_of(row, device))):
        if isinstance(found, str):
            skipped.append(Skipped(line=line, reason=found))
        elif not found.measured:
            skipped.append(Skipped(line=line, reason="no phase is given"))
        else:
            judged += judged_phases(found)
        advance(1)
    return Evaluation(judged=judged, skipped=skipped)


def predicted_phases(iteration: Iteration) -> Mapping[str, float]:
    """Seconds of each phase."""
    setting, train = iteration.setting, iteration.update.layout
    generate = iteration.generate(places(iteration))
    phases = {
        "generation": generation_seconds(setting, generate),
        "reshard": reshard_seconds(setting, train, nested(train, generate), offload=iteration.update.offload),
        "logprobs": inference_seconds(setting, iteration.inference),
        "ref": inference_seconds(setting, iteration.inference),
        "update": training_seconds(setting, iteration.update),
    }
    left_out = () if iteration.has_reference or "ref" in iteration.measured else ("ref",)
    return phases | {"step": sum(seconds for name, seconds in phases.items() if name not in left_out)}


def nested(train: ParallelStrategy, generate: GenerationStrategy) -> GenerationStrategy:
    """The widest generation layout that the costs of a weight sync know, cut as the engine's or less."""
    tensor = math.gcd(train.tensor, generate.tensor)
    pipeline = math.gcd(train.pipeline, generate.pipeline)
    return generate.model_copy(
        update={
            "tensor": tensor,
            "pipeline": pipeline,
            "replicas": max(1, train.devices // (tensor * pipeline)),
        }
    )


def places(iteration: Iteration) -> int:
    """Sequences that run at once: as many as their mean cache leaves room for."""
    setting, one = iteration.setting, iteration.generate(1)
    lengths = setting.workload.response_tokens
    context = setting.workload.prompt_tokens.mean + mean_progress(lengths)
    room = cache_room(engine_of(setting), one)
    return int(min(SEQUENCES, max(1, room // (context * cached_bytes(engine_of(setting), one)))))


def cache_room(engine: Engine, generate: GenerationStrategy) -> float:
    """Bytes for the cache on one device."""
    weights = engine.model.parameters() * engine.element_bytes / (generate.tensor * generate.pipeline)
    memory = engine.device.memory
    return max(COLOCATED_SHARE * memory - weights, LEAST_CACHE_SHARE * memory)


def judged_phases(iteration: Iteration) -> Iterator[Judged]:
    """Each phase that the row states beside its prediction."""
    phases = predicted_phases(iteration)
    terms = {name: term_of(iteration, name, seconds) for name, seconds in phases.items() if name != "step"}
    for name, measured in iteration.measured.items():
        of = [terms[name]] if name in terms else list(terms.values())
        low, high = sum_band(of)
        scale = phases[name] / sum(term.seconds for term in of)
        yield Judged(
            line=iteration.line,
            source=iteration.source,
            group=iteration.name,
            measured=measured,
            predicted=phases[name],
            low=low * scale,
            high=high * scale,
            measure=name,
        )


def term_of(iteration: Iteration, name: str, seconds: float) -> Term:
    """A phase as a part of the step."""
    stack = iteration.setting.stack
    engine = stack.generation if name in ("generation", "reshard") else stack.training
    found = kernel_uncertainty(iteration.setting.device, engine.record, kernel=engine.name)
    causes = {"what rows leave out": UNSTATED_HALF_WIDTH}
    if name != "reshard":
        causes["lengths"] = LENGTH_HALF_WIDTHS[iteration.lengths_from]
    widened: Uncertainty = found.beyond(causes)
    return Term(seconds=seconds, residuals=widened.residuals, kind=engine.name, identity=name)
