"""Keys of a scenario that are right each by itself and wrong together."""

import math
from collections.abc import Iterator

from planner.domain.algorithm import DapoOptions
from planner.domain.dataflow import GENERATOR, DataflowGraph
from planner.domain.mistakes import Path, closest, describe
from planner.domain.runnable import scenario_refusals
from planner.domain.scenario import Scenario
from planner.domain.workload import Work, Workload
from planner.errors import SpecError

Mistake = tuple[Path, str]
"""Key path, and what is wrong there."""

_NEEDED_BY: tuple[tuple[str, Work, str], ...] = (
    ("resampling", "candidates", "drops no samples"),
    ("pretraining_tokens", "samples and pretraining", "learns from no pretraining data"),
)
"""Keys of a workload that count for calls of one work only, and what is to say of algorithms without any."""


def contradictions(scenario: Scenario) -> Iterator[Mistake]:
    """What contradicts each other in a scenario, whatever its algorithm computes."""
    yield from _demand_mistakes(scenario)
    yield from _price_mistakes(scenario)
    yield from _length_mistakes(scenario)
    yield from _capability_mistakes(scenario)
    yield from _growth_mistakes(scenario)
    yield from _function_mistakes(scenario)


def check_roles(scenario: Scenario, graph: DataflowGraph, *, where: str) -> None:
    """Hold a scenario against the dataflow of its algorithm, its services marked.

    Raises
    ------
    SpecError
        A role has neither a model nor a service, or both; a model or a service has no role; a service would
        have to generate or to learn; a pin names a phase or a node pool that is not there; the workload says
        what the algorithm has no use for. All at once.
    """
    mistakes = [
        *_role_mistakes(scenario, graph),
        *_demand_mistakes(scenario, has_generator=GENERATOR in graph.roles),
        *_phase_mistakes(scenario, graph),
        *_work_mistakes(scenario, graph),
    ]
    if mistakes:
        raise SpecError("\n".join(describe(path, message, where=where) for path, message in mistakes))


def _demand_mistakes(scenario: Scenario, *, has_generator: bool = False) -> Iterator[Mistake]:
    """Demands on roles that are not there or take no devices."""
    known = {*scenario.models, *([GENERATOR] if has_generator or scenario.staleness else [])}
    for key in scenario.pin.root:
        if key.role not in known:
            yield from _misplaced(scenario, key.role, ("pin", str(key)))
    for place in ("colocate", "apart"):
        for index, group in enumerate(getattr(scenario, place)):
            roles = dict.fromkeys(group)
            if len(roles) < 2 or len(roles) < len(group):
                found = ", ".join(group) or "nothing"
                yield (place, index), f"names {found}; name two or more roles, each once"
            for role in roles:
                if role not in known:
                    yield from _misplaced(scenario, role, (place, index))


def _growth_mistakes(scenario: Scenario) -> Iterator[Mistake]:
    """Responses that grow, but are all as long as they may be, or that shrink to nothing."""
    if scenario.job is None or scenario.job.growth is None:
        return
    responses, factor = scenario.workload.response_tokens, scenario.job.growth.factor
    least = math.ceil(1e4 / responses.mean) / 1e4
    if responses.is_constant:
        yield (
            ("job", "growth"),
            f"all responses have their maximum of {responses.maximum} tokens and cannot grow; give "
            f"workload.response_tokens a mean below its maximum",
        )
    elif factor * responses.mean < 1:
        yield (
            ("job", "growth", "factor"),
            f"{factor:g} leaves {factor * responses.mean:.2g} tokens of a response that has "
            f"{responses.mean:g} on average; write a factor from {least:g} on",
        )


def _function_mistakes(scenario: Scenario) -> Iterator[Mistake]:
    """Functions that score for roles which the scenario does not have."""
    for role in scenario.run.functions if scenario.run else ():
        if role not in scenario.models and role not in scenario.services:
            yield ("run", f"{role}_function"), f"there is no role {role!r} that it could score for; drop it"


def _misplaced(scenario: Scenario, role: str, path: Path) -> Iterator[Mistake]:
    if role == GENERATOR:
        yield path, f"{role} is a role of its own only with staleness: 1 or more; the actor generates else"
    elif role in scenario.services:
        yield path, f"{role} is a service and takes no devices; drop this demand or give it a model"
    else:
        known = ", ".join(scenario.models)
        hint = closest(role, scenario.models)
        yield path, f"names the role {role!r}, which has no model{hint} (roles: {known})"


def _phase_mistakes(scenario: Scenario, graph: DataflowGraph) -> Iterator[Mistake]:
    """Pins of layouts that a role does not have, and of node pools that the cluster does not have."""
    names = [pool.name for pool in scenario.cluster.node_pools]
    for key, value in scenario.pin.root.items():
        phases = _phases(key.role, graph)
        if key.phase and key.phase not in phases:
            yield ("pin", str(key)), f"{key.role} has no {key.phase!r} layout, only {' and '.join(phases)}"
        if key.field == "node_pool" and value not in names:
            hint = closest(value, names)
            yield ("pin", str(key)), f"no node pool {value!r}{hint} (there are {', '.join(names)})"


def _phases(role: str, graph: DataflowGraph) -> tuple[str, ...]:
    """The layouts of a role; one that is trained infers in its training layout.

    A role that sends its weights to a generator keeps the layout of its synchronous plan.
    """
    if role == GENERATOR:
        return ("generate",)
    kinds = {call.kind for call in graph.calls_of(role)}
    layout = "train" if "train" in kinds else "infer"
    return ("generate", layout) if kinds & {"generate", "send"} else (layout,)


def _price_mistakes(scenario: Scenario) -> Iterator[Mistake]:
    if scenario.minimise == "dollars":
        for index, pool in enumerate(scenario.cluster.node_pools):
            if pool.price is None:
                path = ("cluster", "node_pools", index, "price")
                yield path, f"missing; minimise: dollars needs what a device-hour of {pool.name!r} costs"


def _length_mistakes(scenario: Scenario) -> Iterator[Mistake]:
    options, work = scenario.algorithm, scenario.workload
    longest = work.response_tokens.maximum
    if work.samples_per_prompt < options.least_group:
        yield (
            ("workload", "samples_per_prompt"),
            f"{options.name} compares the samples of a prompt; give at least {options.least_group}",
        )
    if options.kl_target is not None and work.samples >= 5 * options.kl_horizon:
        yield (
            ("algorithm", "kl_horizon"),
            f"{options.kl_horizon} responses: an iteration of {work.samples} could take more than the whole "
            f"coefficient away; write at least {work.samples // 5 + 1}",
        )
    if isinstance(options, DapoOptions) and options.overlong_buffer >= longest:
        yield (
            ("algorithm", "overlong_buffer"),
            f"{options.overlong_buffer} tokens leave nothing of workload.response_tokens.maximum, {longest}",
        )


def _capability_mistakes(scenario: Scenario) -> Iterator[Mistake]:
    """What no plan can make runnable."""
    if scenario.capabilities is not None:
        for problem in scenario_refusals(scenario.capabilities, scenario):
            yield ("capabilities",), f"{problem}; change it, or plan without capabilities"


def _role_mistakes(scenario: Scenario, graph: DataflowGraph) -> Iterator[Mistake]:
    wanted = list(dict.fromkeys(call.role for call in graph.calls if call.kind != "numeric"))
    wanted = [role for role in wanted if role != GENERATOR]
    for role in wanted:
        if role in scenario.models and role in scenario.services:
            yield ("services", role), "has a model as well; drop one of the two"
        elif role not in scenario.models and role not in scenario.services:
            yield ("models", role), f"missing; {graph.name} needs it, or a service in its place"
        elif role in scenario.services and any(call.kind != "infer" for call in graph.calls_of(role)):
            yield ("services", role), f"{graph.name} trains it or generates with it; only a model can do that"
    for place, given in (("models", scenario.models), ("services", scenario.services)):
        for role in given:
            if role not in wanted:
                hint, roles = closest(role, wanted), ", ".join(wanted)
                yield (place, role), f"not a role of {graph.name}{hint} (roles: {roles})"


def _work_mistakes(scenario: Scenario, graph: DataflowGraph) -> Iterator[Mistake]:
    works = {call.work for call in graph.calls}
    for field, work, reason in _NEEDED_BY:
        if work not in works and getattr(scenario.workload, field) != Workload.model_fields[field].default:
            yield ("workload", field), f"{graph.name} {reason}; drop this key"
