"""The JSON objects that commands about plans answer with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import planner
from planner.domain.generated import GenerationReport
from planner.domain.plan import RoleMemory
from planner.domain.simulated import Idle
from planner.domain.timeline import Span
from planner.reporting.words import gap_of, phase_of


def plan_answer(plan: planner.Plan, *, solve_seconds: float | None = None) -> dict[str, Any]:
    """The JSON object of ``plan --json``."""
    value = plan.model_dump(mode="json")
    prediction, proof = value["prediction"], value["proof"]
    return {
        "status": proof["status"],
        "solver": proof["solver"],
        "minimise": proof["minimise"],
        "time_model": proof["time_model"],
        "objective": proof["objective"],
        "bound": proof["bound"],
        "gap": gap_of(plan.proof),
        "solve_seconds": solve_seconds,
        "iteration_seconds": prediction["iteration_seconds"],
        "stage_cost_seconds": prediction["stage_cost_seconds"],
        "tokens_per_second": prediction["tokens_per_second"],
        "dollars_per_million_tokens": prediction["dollars_per_million_tokens"],
        "error_band": error_band(plan),
        "calls": prediction["calls"],
        "memory": memory_by_phase(plan),
        "memory_by_kind": prediction["memory"],
        "pools": value["pools"],
        "strategies": value["strategies"],
        "staleness": plan.staleness,
        "idle_devices": value["idle_devices"],
        "runners_up": value["runners_up"],
    }


def memory_by_phase(plan: planner.Plan) -> dict[str, dict[str, int]]:
    """Bytes per device by role and phase: the persistent ones, and with them the phase's greatest call's."""
    return {role: _phase_bytes(memory) for role, memory in plan.prediction.memory.items()}


def _phase_bytes(memory: RoleMemory) -> dict[str, int]:
    sizes = {"persistent": memory.persistent_bytes}
    for call, kinds in memory.transient.items():
        phase = phase_of(call)
        sizes[phase] = max(sizes.get(phase, 0), memory.persistent_bytes + sum(kinds.values()))
    return sizes


def error_band(plan: planner.Plan) -> dict[str, Any]:
    """The 90 % band of the plan's seconds and bytes, and what lies outside of what was calibrated."""
    of = plan.prediction
    calls = {
        name: {"seconds": [call.seconds_low, call.seconds_high], "outside": list(call.outside)}
        for name, call in of.calls.items()
    }
    return {
        "level": 0.9,
        "iteration_seconds": [of.iteration_low, of.iteration_high],
        "calls": calls,
        "bytes": {name: list(band) for role in of.memory.values() for name, band in role.bands.items()},
    }


def simulation_answer(plan: planner.Plan, simulation: planner.Simulation) -> dict[str, Any]:
    """The JSON object of ``simulate --json``."""
    period = simulation.iteration_seconds
    return {
        "iterations": simulation.iterations,
        "iteration_seconds": period,
        "predicted_seconds": simulation.predicted_seconds,
        "error_band": error_band(plan),
        "tokens_per_second": simulation.tokens_per_second,
        "calls": [_span_answer(span) for span in simulation.timeline.spans],
        "generation": _generation_answer(simulation.generation),
        "idle": _idle_answer(simulation.idle),
        "memory": plan.model_dump(mode="json")["prediction"]["memory"],
        "cost": {
            "dollars_per_million_tokens": simulation.dollars_per_million_tokens,
            "device_seconds_per_iteration": plan.used_devices * period,
        },
        "job": simulation.job.model_dump(mode="json") if simulation.job else None,
    }


def _span_answer(span: Span) -> dict[str, Any]:
    return {
        "call": span.call,
        "role": span.role,
        "kind": span.kind,
        "pool": span.pool,
        "iteration": span.iteration,
        "start": span.start_s,
        "end": span.end_s,
    }


def _generation_answer(reports: Sequence[GenerationReport]) -> dict[str, Any]:
    """Of the last iteration in sum, its longest call's tail; and each call's own figures."""
    last = max((each.iteration for each in reports), default=0)
    own = [each for each in reports if each.iteration == last]
    return {
        "tail": max(own, key=lambda each: each.seconds).tail if own else {},
        "tokens": sum(each.response_tokens for each in own),
        "preemptions": sum(each.preemptions for each in own),
        "waves": max((each.waves for each in own), default=0),
        "calls": [each.model_dump(mode="json") for each in reports],
    }


def _idle_answer(idle: Sequence[Idle]) -> dict[str, Any]:
    """Device-seconds of the simulated time: all, busy, idle by cause; and each pool's."""
    causes: dict[str, float] = {}
    for each in idle:
        for cause, seconds in each.idle.items():
            causes[cause] = causes.get(cause, 0.0) + seconds
    return {
        "device_seconds": sum(each.device_seconds for each in idle),
        "busy": sum(each.busy for each in idle),
        "causes": causes,
        "pools": [each.model_dump(mode="json") for each in idle],
    }


def calls_answer(changes: Sequence[planner.CallChange]) -> dict[str, dict[str, float | None]]:
    """Seconds by call before and after a change."""
    return {
        each.name: {"before": each.before_s, "after": each.after_s, "growth": each.growth_s}
        for each in changes
    }


def price_answer(price: planner.Price) -> dict[str, Any]:
    """A price: what the second plan loses, in the unit of the first plan's objective."""
    return {
        "minimise": price.before.proof.minimise,
        "time_model": price.before.proof.time_model,
        "amount": price.amount,
        "percent": 100 * price.relative,
        "proven": price.is_proven,
        "calls": calls_answer(price.calls),
    }
