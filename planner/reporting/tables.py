"""Tables for a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from planner.domain.placement import format_placement
from planner.domain.plan import Plan, RoleMemory
from planner.domain.profile import Profile
from planner.domain.timeline import Timeline
from planner.units import (
    format_bytes,
    format_bytes_per_s,
    format_flops_per_s,
    format_seconds,
    format_seconds_band,
)


def plan_report(plan: Plan, *, solve_seconds: float | None = None) -> RenderableType:
    """Everything that a plan says: placement, memory, predicted seconds, proof, runners-up."""
    return Group(
        _strategy_table(plan),
        _memory_table(plan),
        _prediction_table(plan),
        _proof_text(plan, solve_seconds),
        _runner_up_table(plan),
    )


def device_report(profile: Profile) -> RenderableType:
    """What was measured on the machine at hand."""
    device = profile.device
    head = Text(
        f"measured {device.name} x {profile.processes}: "
        f"{', '.join(f'{format_flops_per_s(rate)} {kind}' for kind, rate in device.peak.items())}, "
        f"memory {format_bytes_per_s(device.memory_bandwidth)}, {format_bytes(device.usable_memory)} each, "
        f"link {format_bytes_per_s(device.link.bandwidth)} after {format_seconds(device.link.latency)}"
    )
    table = _table(
        "Measured calls", "role", "call", "layout", "micro-batch", "samples", "seconds", "of it reshard"
    )
    for call in profile.calls:
        strategy, generates = call.strategy, call.kind == "generate"
        table.add_row(
            call.role,
            call.method,
            f"{strategy.layout} gen {strategy.generate}" if generates else str(strategy.layout),
            "" if generates else str(strategy.micro_batch),
            str(call.samples),
            format_seconds(call.seconds),
            format_seconds(call.reshard_seconds) if call.reshard_seconds else "",
        )
    return Group(head, table)


def timeline_table(timeline: Timeline, plan: Plan) -> Table:
    """The spans of a timeline in order."""
    table = _table(
        f"{plan.scenario.name}, {timeline.origin}", "iteration", "call", "pool", "start", "end", "seconds"
    )
    for span in timeline.spans:
        table.add_row(
            str(span.iteration),
            span.call,
            span.pool,
            format_seconds(span.start_s),
            format_seconds(span.end_s),
            format_seconds(span.seconds),
        )
    table.caption = _iteration_words(plan)
    return table


def comparison_table(predicted: Mapping[str, float], measured: Mapping[str, float]) -> Table:
    """Predicted against measured seconds by call; ``total`` is the iteration."""
    table = _table("Predicted against measured, per iteration", "call", "predicted", "measured", "error")
    for call, seconds in measured.items():
        expected = predicted.get(call)
        known = expected is not None
        table.add_row(
            call,
            format_seconds(expected) if expected is not None else "-",
            format_seconds(seconds),
            f"{100 * (expected / seconds - 1):+.0f} %" if known and expected and seconds else "-",
            end_section=call == list(measured)[-2] if len(measured) > 1 else False,
        )
    return table


def median_seconds(timeline: Timeline, *, skip: int = 0) -> dict[str, float]:
    """Median busy seconds of each call over the iterations, the first ``skip`` left out; and ``total``."""
    iterations = timeline.iterations[skip:] or timeline.iterations
    each = [timeline.seconds_by_call(iteration) for iteration in iterations]
    calls = dict.fromkeys(call for seconds in each for call in seconds)
    medians = {call: median(seconds.get(call, 0.0) for seconds in each) for call in calls}
    return medians | {"total": median(map(timeline.iteration_seconds, iterations))}


def _strategy_table(plan: Plan) -> Table:
    title = f"{plan.scenario.name}: {format_placement(plan.placement)}"
    table = _table(title, "pool", "devices", "role", "layout", "generation", "micro-batch", "recompute")
    for pool in plan.pools:
        for role in pool.roles:
            strategy = plan.strategies[role]
            generate = strategy.generate
            generation = f"{generate} of {generate.max_sequences} sequences" if generate else ""
            first = role == pool.roles[0]
            table.add_row(
                f"{pool.name} ({pool.node_pool})" if first else "",
                str(pool.devices) if first else "",
                role,
                str(strategy.layout),
                generation,
                str(strategy.micro_batch),
                strategy.recompute if strategy.train else "",
                end_section=role == pool.roles[-1],
            )
    if plan.idle_devices:
        table.caption = f"{plan.idle_devices} devices stay idle"
    return table


def _memory_table(plan: Plan) -> Table:
    memory = plan.prediction.memory
    kinds = list(dict.fromkeys(kind for role in memory.values() for kind in role.persistent))
    table = _table("Memory per device", "pool", "role", *kinds, "peak of its calls")
    for pool in plan.pools:
        for role in pool.roles:
            own = memory[role]
            persistent = [
                format_bytes(own.persistent[kind]) if kind in own.persistent else "" for kind in kinds
            ]
            table.add_row(pool.name if role == pool.roles[0] else "", role, *persistent, _peak(own))
        roles = [memory[role] for role in pool.roles]
        usable = plan.scenario.cluster.node_pool(pool.node_pool).device.usable_memory
        text = f"{format_bytes(_pool_bytes(roles))}{_band_words(roles)} of {format_bytes(usable)}"
        table.add_row("", "together at most", *[""] * len(kinds), text, style="bold", end_section=True)
    return table


def _peak(memory: RoleMemory) -> str:
    if not memory.transient:
        return ""
    call, kinds = max(memory.transient.items(), key=lambda item: sum(item[1].values()))
    parts = ", ".join(f"{kind} {format_bytes(size)}" for kind, size in kinds.items() if size)
    return f"{format_bytes(sum(kinds.values()))} in {call} ({parts})"


def _pool_bytes(roles: Sequence[RoleMemory]) -> int:
    return sum(role.persistent_bytes for role in roles) + max(role.transient_bytes for role in roles)


def _band_words(roles: Iterable[RoleMemory]) -> str:
    """The 90 % band of a pool's bytes, where there is one."""
    roles = list(roles)
    beside = {
        id(role): sum(each.persistent_bytes for each in roles) - role.persistent_bytes for role in roles
    }
    lows = [beside[id(role)] + low for role in roles for low, _ in role.bands.values()]
    highs = [beside[id(role)] + high for role in roles for _, high in role.bands.values()]
    return f" ({format_bytes(max(lows))} to {format_bytes(max(highs))}, 90 %)" if lows else ""


def _prediction_table(plan: Plan) -> Table:
    prediction = plan.prediction
    table = _table(
        "Predicted", "call", "pool", "seconds", "of it reshard", "from", "outside of what was measured"
    )
    for pool in plan.pools:
        for name in pool.order:
            call = prediction.calls[name]
            table.add_row(
                name,
                pool.name,
                format_seconds_band(call.seconds, call.seconds_low, call.seconds_high),
                format_seconds(call.reshard_seconds) if call.reshard_seconds else "",
                call.origin,
                "; ".join(call.outside),
            )
    table.caption = _iteration_words(plan)
    return table


def _iteration_words(plan: Plan) -> str:
    of = plan.prediction
    seconds = format_seconds_band(of.iteration_seconds, of.iteration_low, of.iteration_high)
    return f"iteration {seconds}, {of.tokens_per_second:,.0f} tokens/s"


def _proof_text(plan: Plan, solve_seconds: float | None) -> Text:
    proof = plan.proof
    gap = f", gap {100 * (1 - proof.bound / proof.objective):.2f} %" if proof.status != "optimal" else ""
    solved = f" in {format_seconds(solve_seconds)}" if solve_seconds is not None else ""
    return Text(
        f"{proof.status} by {proof.solver}{solved}: objective {proof.objective:.6f} s, "
        f"bound {proof.bound:.6f} s{gap}",
        style="bold",
    )


def _runner_up_table(plan: Plan) -> RenderableType:
    if not plan.runners_up:
        return Text("no other placement fits")
    table = _table("The best plans of other placements", "placement", "devices", "objective", "loses most in")
    for other in plan.runners_up:
        worse = 100 * (other.objective / plan.proof.objective - 1)
        table.add_row(
            format_placement(other.placement),
            " + ".join(map(str, other.devices)),
            f"{format_seconds(other.objective)} ({worse:+.1f} %{', ties' if other.ties else ''})",
            f"{other.loses_in} ({format_seconds(other.loses_seconds)} longer)" if other.loses_in else "",
        )
    if any(other.ties for other in plan.runners_up):
        table.caption = "ties: the difference to the plan is within the error that the two do not share"
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", caption_justify="left")
    for column in columns:
        table.add_column(column)
    return table


def sample_table(before: Sequence[tuple[str, str]], after: Sequence[tuple[str, str]]) -> Table:
    """Responses to the same prompts before and after training; each a prompt and its response."""
    table = _table("Responses", "prompt", "before", "after")
    for (prompt, first), (_, last) in zip(before, after, strict=True):
        table.add_row(prompt, first, last, end_section=True)
    return table


def name_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table of plain texts."""
    table = _table(title, *columns)
    for row in rows:
        table.add_row(*row)
    return table
