"""Numbers of each iteration, under verl's names."""

import math
from collections.abc import Sequence

from planner.domain.timeline import Span
from runtime.watch import SubmittedCall
from runtime.workers.call import Mean

_TIMING_NAMES = {
    "generate": "gen",
    "values": "values",
    "logprobs": "ref",
    "proximal_logprobs": "old_log_prob",
    "scores": "reward",
    "costs": "cost",
    "baselines": "reward_baseline",
    "advantages": "adv",
    "send": "update_weights",
    "receive": "update_weights",
}
"""verl's words; a method that is not here keeps its own."""


def iteration_metrics(
    finished: Sequence[SubmittedCall], spans: Sequence[Span], *, devices: int, after_s: float = 0.0
) -> dict[str, float]:
    """What the workers reported, and where the time went.

    Where the ranks of one call report different numbers under one name, the greatest of a maximum counts, the
    least of a minimum, and the mean of all others; means over samples are joined by their numbers of samples.

    Parameters
    ----------
    devices
        That the plan uses; verl divides its throughput by them (``compute_throughout_metrics``).
    after_s
        End of the iteration before; what overlaps with that one is not counted twice.
    """
    metrics: dict[str, float] = {}
    for done in finished:
        metrics.update(_over_ranks(done))
    for span in spans:
        name = f"timing_s/{timing_name(span)}"
        metrics[name] = metrics.get(name, 0.0) + span.seconds
    start_s = max(after_s, min(span.start_s for span in spans))
    seconds = max(span.end_s for span in spans) - start_s
    metrics["timing_s/step"] = metrics["perf/time_per_step"] = seconds
    if "perf/total_num_tokens" in metrics:
        metrics["perf/throughput"] = metrics["perf/total_num_tokens"] / (seconds * devices)
    return metrics


def timing_name(span: Span) -> str:
    """verl's word for a call, after ``timing_s/``."""
    if span.kind == "reshard":
        return "reshard"
    method = span.call.split(".")[1].split("#")[0]
    return f"update_{span.role}" if method == "update" else _TIMING_NAMES.get(method, method)


def _over_ranks(done: SubmittedCall) -> dict[str, float]:
    reported: dict[str, list[float | Mean]] = {}
    for report in done.reports:
        for name, value in report.metrics.items():
            reported.setdefault(name, []).append(value)
    return {name: _one(name, values) for name, values in reported.items()}


def _one(name: str, values: Sequence[float | Mean]) -> float:
    means = [value for value in values if isinstance(value, Mean)]
    if means:
        return math.fsum(mean.total for mean in means) / sum(mean.count for mean in means)
    if len(set(values)) == 1 or name.endswith(("/max", "_max")):
        return max(values)
    return min(values) if name.endswith("/min") else math.fsum(values) / len(values)
