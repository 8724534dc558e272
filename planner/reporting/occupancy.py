"""What devices hold, run and wait for at each time of a timeline."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from planner.domain.generated import GenerationReport
from planner.domain.plan import Plan
from planner.domain.timeline import Span, Timeline

Interval = tuple[float, float]
"""Seconds of a start and an end."""

GROUPS = {
    "generation_weights": "weights",
    "parameters": "weights",
    "gathered": "weights",
    "kv_cache": "KV cache",
    "activations": "activations",
    "logits": "logits",
    "gradients": "gradients",
    "optimizer": "optimizer",
}
"""What kinds of bytes are called where they are shown together; all others are ``buffers``."""
GROUP_NAMES = (*dict.fromkeys(GROUPS.values()), "buffers")
"""From the bottom of a stack to its top."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What one call takes on each device of its pool beside what stays there."""

    call: str
    iteration: int
    start_s: float
    end_s: float
    bytes_by_group: Mapping[str, int]


def holdings(timeline: Timeline, plan: Plan, pool: str) -> list[Holding]:
    """The calls of a pool with what they take at their peaks, in order of their start.

    A call holds its bytes from the start of its first span to the end of its last one, those of parts
    such as ``actor.generate/reshard`` among them.
    """
    spans: dict[tuple[str, int], list[Span]] = {}
    for span in timeline.spans:
        if span.pool == pool:
            spans.setdefault((call_of(span), span.iteration), []).append(span)
    found = [
        Holding(
            call=call,
            iteration=iteration,
            start_s=min(span.start_s for span in parts),
            end_s=max(span.end_s for span in parts),
            bytes_by_group=grouped(_transient(plan, parts[0].role, call)),
        )
        for (call, iteration), parts in spans.items()
    ]
    return sorted(found, key=lambda holding: holding.start_s)


def call_of(span: Span) -> str:
    """The call that a span is, or is a part of."""
    return span.call.partition("/")[0]


def grouped(kinds: Mapping[str, int]) -> dict[str, int]:
    """Bytes by the names that they are shown under, from the bottom of a stack to its top.

    >>> grouped({"kv_cache": 8, "graphs": 1, "parameters": 4, "exchange": 1})
    {'weights': 4, 'KV cache': 8, 'buffers': 2}
    """
    totals = dict.fromkeys(GROUP_NAMES, 0)
    for kind, count in kinds.items():
        totals[GROUPS.get(kind, "buffers")] += count
    return {group: count for group, count in totals.items() if count}


def persistent_bytes(plan: Plan, pool: str) -> dict[str, int]:
    """What stays on each device of a pool, by role; roles that leave nothing are left out."""
    roles = next(each.roles for each in plan.pools if each.name == pool)
    memory = plan.prediction.memory
    return {role: memory[role].persistent_bytes for role in roles if memory[role].persistent_bytes}


def usable_bytes(plan: Plan, pool: str) -> int:
    """Memory of each device of a pool."""
    node_pool = next(each.node_pool for each in plan.pools if each.name == pool)
    return plan.scenario.cluster.node_pool(node_pool).device.usable_memory


def gaps(timeline: Timeline, pool: str) -> list[Interval]:
    """When a pool runs nothing, from 0 to the timeline's end."""
    found, reached = [], 0.0
    for span in sorted(timeline.spans, key=lambda span: span.start_s):
        if span.pool == pool:
            found += [(reached, span.start_s)] if span.start_s > reached else []
            reached = max(reached, span.end_s)
    end = timeline.end_s
    return [*found, (reached, end)] if end > reached else found


def placed(
    timeline: Timeline, reports: Sequence[GenerationReport]
) -> Iterator[tuple[GenerationReport, Span]]:
    """Generations with their spans; those without one are left out."""
    spans = {
        (span.call, span.iteration): span for span in reversed(timeline.spans) if span.kind == "generate"
    }
    for report in reports:
        if (report.call, report.iteration) in spans:
            yield report, spans[report.call, report.iteration]


def _transient(plan: Plan, role: str, call: str) -> Mapping[str, int]:
    memory = plan.prediction.memory.get(role)
    return memory.transient.get(call, {}) if memory else {}
