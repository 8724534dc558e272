"""Do calls on different pools overlap? Two pools of one process each, on a core each.

What can overlap takes so long (the makespan, by the workers' clocks), the same calls one after the other
take their sum. Both ways run in turns in the same processes, on the same samples.
"""

from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from benchmarks.quickstart import ROLES, micro_batch_pins, quickstart, standing
from planner import plan as best_plan
from planner.algorithms import Algorithm, program_of
from planner.domain.timeline import Span
from runtime.controller import Controller
from runtime.recipes import recipe_of
from runtime.recorder import Recorder
from runtime.session import session
from runtime.worker_group import Flight

REPEATS = 7
WARM_UP = 1
BLOCKS = 2
"""Of the asynchronous plan, each way."""
LENGTHS = {
    "prompt_tokens": {"mean": 17, "maximum": 32},
    "response_tokens": {"mean": 16.5, "maximum": 32},
}
SPLIT: dict[str, Any] = {
    "workload": {**LENGTHS, "prompts": 256, "mini_batches": 2},
    "colocate": [["actor", "reference"], ["critic", "reward"]],
    "apart": [["actor", "critic"]],
    "pin": micro_batch_pins(),
}
"""PPO with the policies in one pool and the value models in the other: preparation and updates overlap."""
AHEAD: dict[str, Any] = {
    "roles": ROLES["grpo"],
    "algorithm": "grpo",
    "staleness": 1,
    "workload": {**LENGTHS, "prompts": 64, "samples_per_prompt": 4, "mini_batches": 2},
    "colocate": [["generator", "reference", "reward"]],
    "apart": [["generator", "actor"]],
    "pin": micro_batch_pins(ROLES["grpo"]),
}
"""GRPO whose next samples are generated and judged in one pool while the actor learns in the other."""


def measure() -> dict[str, Any]:
    """Makespan of what can overlap, its serial sum, and their ratio; medians."""
    results = {}
    for name, measured in (("split", split), ("ahead", ahead)):
        results[name] = measured()
        print(name, results[name], flush=True)
    return results


def split() -> dict[str, Any]:
    """Everything after generation, on two pools, in turns with the same calls one after the other."""
    plan = standing(best_plan(quickstart("overlap", **SPLIT)).plan)
    algorithm = program_of(plan.scenario)
    together: list[Sequence[Span]] = []
    alone: list[Sequence[Span]] = []
    with session(plan, lambda pool: recipe_of(plan, pool)) as controller:
        for iteration in range(WARM_UP + REPEATS):
            together.append(after_generation(_spans(controller, algorithm, iteration)))
            alone.append(after_generation(_spans(controller, one_after_another(algorithm), iteration)))
    return figures(together[WARM_UP:], alone[WARM_UP:])


def ahead() -> dict[str, Any]:
    """Whole iterations of a plan that generates one ahead: in a row, and each call alone; in blocks."""
    plan = standing(best_plan(quickstart("overlap", **AHEAD)).plan)
    algorithm = program_of(plan.scenario)
    periods: list[float] = []
    alone: list[Sequence[Span]] = []
    size = WARM_UP + REPEATS
    with session(plan, lambda pool: recipe_of(plan, pool)) as controller:
        for start in range(0, 2 * BLOCKS * size, 2 * size):
            row = in_a_row(controller, algorithm, range(start, start + size))
            periods += periods_of(row)[WARM_UP:]
            singles = range(start + size, start + 2 * size)
            alone += [_spans(controller, one_after_another(algorithm), each) for each in singles][WARM_UP:]
    serial_s = median(serial_sum(spans) for spans in alone)
    return {
        "period_seconds": round(median(periods), 4),
        "serial_seconds": round(serial_s, 4),
        "ratio": round(median(periods) / serial_s, 4),
        "calls": {
            span.call: round(median(_seconds(spans, span.call) for spans in alone), 4) for span in alone[0]
        },
    }


def in_a_row(controller: Controller, algorithm: Algorithm, iterations: range) -> list[Sequence[Span]]:
    """The spans of iterations of which as many are under way as the plan gains from."""
    recorder = Recorder()
    flights: deque[Flight] = deque()
    spans: list[Sequence[Span]] = []

    def record() -> None:
        flight = flights.popleft()
        spans.append(recorder.add(controller.wait(flight), iteration=flight.iteration))

    controller.begin(iterations)
    for iteration in iterations:
        flights.append(controller.submit(algorithm, iteration=iteration))
        if len(flights) == controller.window:
            record()
    while flights:
        record()
    controller.finish()
    return spans


def periods_of(iterations: Sequence[Sequence[Span]]) -> list[float]:
    """Seconds from the end of the update of one iteration to that of the next."""
    ends = [max(span.end_s for span in spans if span.kind == "train") for spans in iterations]
    return [after - before for before, after in pairwise(ends)]


def figures(together: Sequence[Sequence[Span]], alone: Sequence[Sequence[Span]]) -> dict[str, Any]:
    """Medians over iterations."""
    makespan_s = median(makespan(spans) for spans in together)
    serial_s = median(serial_sum(spans) for spans in alone)
    by_call = {
        span.call: {
            "pool": span.pool,
            "alone": round(median(_seconds(spans, span.call) for spans in alone), 4),
            "together": round(median(_seconds(spans, span.call) for spans in together), 4),
        }
        for span in together[0]
    }
    return {
        "makespan_seconds": round(makespan_s, 4),
        "serial_seconds": round(serial_s, 4),
        "ratio": round(makespan_s / serial_s, 4),
        "ratio_to_own_sum": round(median(makespan(spans) / serial_sum(spans) for spans in together), 4),
        "calls": by_call,
    }


def after_generation(spans: Sequence[Span]) -> list[Span]:
    """The spans that start when the samples are there."""
    generated_s = max(span.end_s for span in spans if span.kind == "generate")
    return [span for span in spans if span.kind not in ("generate", "reshard") and span.end_s > generated_s]


def makespan(spans: Sequence[Span]) -> float:
    """Seconds from the first start to the last end."""
    return max(span.end_s for span in spans) - min(span.start_s for span in spans)


def serial_sum(spans: Sequence[Span]) -> float:
    """Seconds of all spans together."""
    return sum(span.seconds for span in spans)


def one_after_another(algorithm: Algorithm) -> Algorithm:
    """The algorithm with each call waiting for the one before to end."""
    return lambda roles, prompts: algorithm(_InTurn(roles), prompts)


class _InTurn:
    """Hands out roles whose calls are waited for."""

    def __init__(self, roles: Any) -> None:
        self._roles = roles

    def __getattr__(self, role: str) -> "_Waiting":
        return _Waiting(getattr(self._roles, role))


class _Waiting:
    """A worker group whose methods return when their call has ended."""

    def __init__(self, group: Any) -> None:
        self._group = group

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(batch: Any, **options: Any) -> Any:
            result = getattr(self._group, method)(batch, **options)
            while not self._group.flight.is_over:
                self._group.traffic.settle()
                self._group.schedule.go_on()
            return result

        return call


def _spans(controller: Controller, algorithm: Algorithm, iteration: int) -> list[Span]:
    return Recorder().add(controller.iterate(algorithm, iteration=iteration), iteration=iteration)


def _seconds(spans: Sequence[Span], call: str) -> float:
    return sum(span.seconds for span in spans if span.call == call)
