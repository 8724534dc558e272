"""A plan on a terminal: pools, orders, memory, seconds, proof, runners-up."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from planner.domain.placement import format_placement
from planner.domain.plan import CallPrediction, Plan, Pool, RoleMemory, RoleStrategy, RunnerUp
from planner.reporting.tables import blank_table
from planner.reporting.words import (
    PHASES,
    change_of,
    format_objective,
    format_share,
    iteration_words,
    loss_of,
    phase_of,
    proof_words,
)
from planner.units import format_bytes, format_seconds

_KV_CACHE = "kv_cache"


def plan_report(plan: Plan, *, solve_seconds: float | None = None) -> RenderableType:
    """Everything that a plan says: placement, orders, memory, predicted seconds, proof, runners-up."""
    return Group(
        _strategy_table(plan),
        _order_table(plan),
        _memory_table(plan),
        _prediction_table(plan),
        *_outside_tables(plan),
        Text(proof_words(plan.proof, solve_seconds), style="bold"),
        runner_up_table(plan),
    )


def _strategy_table(plan: Plan) -> Table:
    title = f"{plan.scenario.name}: {format_placement(plan.placement)}"
    if plan.staleness:
        title += f", generation up to {plan.staleness} ahead"
    saves = any(map(_saving_words, plan.strategies.values()))
    columns = ("pool", "role", "layout", "generation", "micro-batch", *(["saves memory by"] if saves else []))
    table = blank_table(title, *columns, whole=("role", "layout"))
    for pool, role in _placed_roles(plan):
        strategy = plan.strategies[role]
        table.add_row(
            f"{pool.name}: {pool.devices} of {pool.node_pool}" if role == pool.roles[0] else "",
            role,
            str(strategy.layout) if strategy.train or strategy.infer else "",
            _generation_words(strategy),
            _micro_batch_words(strategy),
            *([_saving_words(strategy)] if saves else []),
            end_section=role == pool.roles[-1],
        )
    idle = plan.idle_devices
    table.caption = f"{idle} of {plan.scenario.cluster.devices} devices stay idle" if idle else None
    return table


def _generation_words(strategy: RoleStrategy) -> str:
    generate = strategy.generate
    if generate is None:
        return ""
    cache = f", cache of {generate.cache_tokens:,} tokens" if generate.cache_tokens else ""
    return f"{generate} of {generate.max_sequences} sequences{cache}"


def _micro_batch_words(strategy: RoleStrategy) -> str:
    if not (strategy.train or strategy.infer):
        return ""
    tokens = strategy.micro_batch_tokens
    return f"{tokens:,} tokens" if tokens else str(strategy.micro_batch)


def _saving_words(strategy: RoleStrategy) -> str:
    """What is recomputed and offloaded."""
    chosen = {"recompute": strategy.recompute, "offload": strategy.offload}
    return ", ".join(f"{what} {which}" for what, which in chosen.items() if which != "none")


def _order_table(plan: Plan) -> Table:
    table = blank_table("Order of calls in each period", "pool", "calls")
    for pool in plan.pools:
        table.add_row(pool.name, " -> ".join(call + _ahead_words(pool, call) for call in pool.order))
    if any(any(pool.ahead.values()) for pool in plan.pools):
        table.caption = "+n: works on the iteration n after that of the pool's rearmost call"
    return table


def _ahead_words(pool: Pool, call: str) -> str:
    return f" +{pool.ahead[call]}" if pool.ahead.get(call) else ""


def _memory_table(plan: Plan) -> Table:
    """What stays in the whole iteration, and what the greatest call of each phase takes beside it."""
    table = blank_table("Memory per device", "pool", "role", "phase", "bytes", "of it")
    for pool, role in _placed_roles(plan):
        usable, rows = _usable(plan, pool), list(_memory_rows(plan.prediction.memory[role]))
        for number, (phase, kinds) in enumerate(rows):
            table.add_row(
                pool.name if (role, number) == (pool.roles[0], 0) else "",
                role if number == 0 else "",
                phase,
                format_bytes(sum(kinds.values())),
                _kind_words(kinds, usable),
                end_section=role == pool.roles[-1] and number == len(rows) - 1,
            )
    table.caption = "\n".join(_room_words(plan, pool) for pool in plan.pools)
    return table


def _memory_rows(memory: RoleMemory) -> Iterator[tuple[str, dict[str, int]]]:
    """What stays, the greatest call of each phase, and what lies in host memory; bytes by kind."""
    if memory.persistent_bytes:
        yield "stays", memory.persistent
    for phase in PHASES:
        peaks = [kinds for call, kinds in memory.transient.items() if phase_of(call) == phase]
        if peaks:
            yield phase, max(peaks, key=lambda kinds: sum(kinds.values()))
    if memory.host:
        yield "host", {"offloaded": memory.host}


def _kind_words(kinds: Mapping[str, int], usable: int) -> str:
    """Each kind with its bytes, the cache with its share of the device."""
    shares = {_KV_CACHE: f" ({100 * kinds.get(_KV_CACHE, 0) / usable:.0f} % of the device)"}
    return ", ".join(
        f"{kind.replace('_', ' ').replace('kv', 'KV')} {format_bytes(size)}{shares.get(kind, '')}"
        for kind, size in kinds.items()
        if size
    )


def _room_words(plan: Plan, pool: Pool) -> str:
    roles = [plan.prediction.memory[role] for role in pool.roles]
    needed = sum(role.persistent_bytes for role in roles) + max(role.transient_bytes for role in roles)
    room = format_bytes(_usable(plan, pool))
    return f"{pool.name}: together at most {format_bytes(needed)}{_band_words(roles)} of {room}"


def _usable(plan: Plan, pool: Pool) -> int:
    return plan.scenario.cluster.node_pool(pool.node_pool).device.usable_memory


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
    calls = plan.prediction.calls
    pools = {call: pool.name for pool in plan.pools for call in pool.order}
    banded = any(call.seconds_low is not None for call in calls.values())
    columns = ("call", "pool", "seconds", *(["90 % band"] if banded else []), "of it reshard", "from")
    table = blank_table("Predicted", *columns)
    for name, pool in pools.items():
        call = calls[name]
        table.add_row(
            name,
            pool,
            format_seconds(call.seconds),
            *([_call_band_words(call)] if banded else []),
            format_seconds(call.reshard_seconds) if call.reshard_seconds else "",
            call.origin,
        )
    table.caption = iteration_words(plan)
    return table


def _call_band_words(call: CallPrediction) -> str:
    """Both ends of a call's band, the unit once where it is the same."""
    if call.seconds_low is None or call.seconds_high is None:
        return ""
    low, unit = format_seconds(call.seconds_low).split()
    high = format_seconds(call.seconds_high)
    return f"{low} to {high}" if high.endswith(f" {unit}") else f"{low} {unit} to {high}"


def _outside_tables(plan: Plan) -> Iterator[Table]:
    """What lies outside of what was measured, if anything does, with the calls that it is true of."""
    calls: dict[str, list[str]] = {}
    for name, call in plan.prediction.calls.items():
        for reason in call.outside:
            calls.setdefault(reason, []).append(name)
    if calls:
        table = blank_table("Outside of what was measured", "why", "calls")
        for reason, names in calls.items():
            table.add_row(reason, ", ".join(names))
        yield table


def runner_up_table(plan: Plan) -> RenderableType:
    """The best plan of each of the next best placements, what it loses and in which call."""
    if not plan.runners_up:
        return Text("no other placement to compare with")
    columns = ("placement", "devices", "objective", "loses most in")
    table = blank_table("The best plans of other placements", *columns)
    for other in plan.runners_up:
        change = change_of(loss_of(other.objective, plan.proof), plan.proof.minimise)
        worse = f"{format_share(change)}{', ties' if other.ties else ''}"
        table.add_row(
            format_placement(other.placement),
            " + ".join(map(str, other.devices)),
            f"{format_objective(other.objective, plan.proof.minimise)} ({worse})",
            _loss_words(other),
        )
    if any(other.ties for other in plan.runners_up):
        table.caption = "ties: the difference to the plan is within the error that the two do not share"
    return table


def _loss_words(other: RunnerUp) -> str:
    """In which call another placement's plan loses, and how."""
    if not other.loses_in:
        return ""
    seconds = format_seconds(other.loses_seconds)
    how = {
        "slower": f"{seconds} longer",
        "shares": f"{seconds} on a pool that it now shares",
        "waits": f"now decides, {seconds} in all",
        "crosses": f"now waits for the link between node pools, {seconds} in all",
    }
    return f"{other.loses_in} ({how[other.loses_kind]})"


def _placed_roles(plan: Plan) -> Sequence[tuple[Pool, str]]:
    return [(pool, role) for pool in plan.pools for role in pool.roles]
