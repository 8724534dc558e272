"""Every number that a plan states is finite; calls take no less than nothing, iterations take time."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from planner.domain.mistakes import Path, format_path
from planner.domain.plan import Plan
from planner.search.certify.violation import Violation


def number_violations(plan: Plan) -> Iterator[Violation]:
    """The numbers that nothing can be computed from."""
    stated = plan.model_dump(include={"prediction", "proof", "runners_up"})
    for path, number in _floats(stated):
        if not math.isfinite(number):
            yield Violation(rule="numbers", message=f"{format_path(path)} is {number}")
    positive = {
        "prediction.iteration_seconds": plan.prediction.iteration_seconds,
        "prediction.stage_cost_seconds": plan.prediction.stage_cost_seconds,
        "proof.objective": plan.proof.objective,
    }
    positive |= {f"runners_up[{at}].objective": other.objective for at, other in enumerate(plan.runners_up)}
    for name, number in positive.items():
        if number <= 0:
            yield Violation(rule="numbers", message=f"{name} is {number}, not above 0")
    for name, call in plan.prediction.calls.items():
        if not 0 <= call.reshard_seconds <= call.seconds:
            message = f"{name} takes {call.seconds} s, {call.reshard_seconds} s of them for its weight sync"
            yield Violation(rule="numbers", message=message)


def _floats(value: Any, path: Path = ()) -> Iterator[tuple[Path, float]]:
    """Every float inside a value, with its key path."""
    if isinstance(value, float):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _floats(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _floats(item, (*path, index))
