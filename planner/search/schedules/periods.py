"""The least period of a cyclic schedule of a fixed plan, exactly, by branch and bound.

Call c of iteration i starts at s_c + i P. Waits are arcs of a periodic system (`planner.costs.cycles`), whose
least period for a set of arcs follows from its cycles. Two calls a and b on one pool overlap in no iteration
if and only if for every integer m a ends before b of m iterations later starts (s_b + m P >= s_a + d_a) or
that one ends before a starts (s_a >= s_b + m P + d_b). Either is an arc. The search starts from the waits
alone and, where two calls of the earliest schedule overlap for some m, tries both arcs; a node's own least
period bounds all below it, so that the first node without overlap that is taken from the heap of least
periods is optimal. Among a node's overlaps the one is branched on whose better side is worst.

It ends: arcs forbid that calls which wait for each other in a circle drift apart, and calls that do not are
tied to within a period of each other, which loses nothing, as a part that nothing ties can move by whole
periods. Waits that lie on no circle cost no time for the same reason: the parts are moved until they hold.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import networkx as nx

from planner.costs.cycles import WholeArc, positive_cycle
from planner.search.problem import PoolChoice, Problem

Waits = Sequence[tuple[int, int, int, int]]
"""Source, target, lag, and delay after the source's end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One period, over and over."""

    period_us: int
    start_us: tuple[int, ...]
    """Start of each call's iteration 0; that of iteration i is i periods later."""


def best_schedule(
    durations_us: Sequence[int],
    pools: Sequence[int | None],
    waits: Waits,
    *,
    interleaves: bool = True,
    at_least_us: int = 1,
    at_most_us: int | None = None,
) -> Schedule | None:
    """A schedule of the least period, at least one microsecond.

    Parameters
    ----------
    durations_us
        Of each call.
    pools
        Number of the pool that each call runs on; none for a call that needs no pool.
    waits
        (source, target, lag, delay): the target of iteration i starts no sooner than ``delay`` after the
        source of iteration i - lag has ended.
    interleaves
        Whether a pool may run calls of different iterations in one period.
    at_least_us
        What no period may undercut, such as what crosses a link in one iteration.
    at_most_us
        Longest period of interest.

    Returns
    -------
    None when there is no schedule, or none of so short a period.
    """
    tree = _Tree(durations_us, pools, waits, interleaves=interleaves)
    longest = max(at_least_us, tree.longest)
    return tree.best(at_least_us, longest if at_most_us is None else min(at_most_us, longest))


def fixed_plan(
    problem: Problem, pools: Sequence[PoolChoice]
) -> tuple[list[int], list[int | None], list[tuple[int, int, int, int]]]:
    """Durations of the calls, their pools, and their waits with the crossings between node pools."""
    home = {problem.roles.index(role): number for number, pool in enumerate(pools) for role in pool.roles}
    durations = [call.us for call in problem.calls]
    for pool in pools:
        for role, row in zip(pool.roles, pool.rows, strict=True):
            own = [
                number for number, call in enumerate(problem.calls) if call.role == problem.roles.index(role)
            ]
            for number, us in zip(own, problem.options[role][pool.slot].call_us[row], strict=True):
                durations[number] = int(us)
    homes = [None if call.role is None else home[call.role] for call in problem.calls]
    node_pools = [None if pool is None else pools[pool].slot.node_pool for pool in homes]
    waits = []
    for wait in problem.waits:
        ends = {node_pools[wait.source], node_pools[wait.target]} - {None}
        waits.append((wait.source, wait.target, wait.lag, wait.crossing_us if len(ends) > 1 else 0))
    return durations, homes, waits


def link_load_us(problem: Problem, pools: Sequence[PoolChoice]) -> int:
    """The most that one iteration takes of any link from one node pool to another; none has a shorter period.

    All that crosses in one direction shares the link (`planner.costs.sync.crossing.link_loads`).
    """
    node_pools = {problem.roles.index(role): pool.slot.node_pool for pool in pools for role in pool.roles}
    loads: dict[tuple[str, str], int] = {}
    for wait in problem.waits:
        source, target = (problem.calls[call].role for call in (wait.source, wait.target))
        if source is not None and target is not None and node_pools[source] != node_pools[target]:
            link = node_pools[source], node_pools[target]
            loads[link] = loads.get(link, 0) + wait.crossing_us
    return max(loads.values(), default=0)


class _Tree:
    """The nodes of one search: arcs added to the waits, with the least period that they allow."""

    def __init__(
        self, durations: Sequence[int], pools: Sequence[int | None], waits: Waits, *, interleaves: bool
    ) -> None:
        self.durations = durations
        self.longest = sum(durations) + sum(delay for *_, delay in waits) + 1
        """A period in which everything runs one after the other."""
        members: dict[int, list[int]] = {}
        for call, pool in enumerate(pools):
            if pool is not None:
                members.setdefault(pool, []).append(call)
        self.pairs = [(a, b) for pool in members.values() for i, a in enumerate(pool) for b in pool[i + 1 :]]
        self.load = max((sum(durations[call] for call in pool) for pool in members.values()), default=0)
        links = [(source, target, durations[source] + delay, lag) for source, target, lag, delay in waits]
        if not interleaves:
            both = [pair for a, b in self.pairs for pair in ((a, b), (b, a))]
            links += [(one, other, durations[one], 1) for one, other in both]
        self.parts = _parts(len(durations), links)
        self.links = links
        self.waits = _tied(self.parts, links)

    def best(self, at_least: int, at_most: int) -> Schedule | None:
        """The schedule of the least period, none when it exceeds the limit."""
        root = self.relaxed([], max(at_least, self.load), [0] * len(self.durations), at_most)
        if root is None:
            return None
        heap = [(root[0], 0, 0, root[1], list[WholeArc]())]
        made = 0
        while heap:
            period, depth, _, starts, added = heapq.heappop(heap)
            sides = self.worst_overlap(period, starts, added, at_most)
            if sides is None:
                return Schedule(period_us=period, start_us=self.moved(period, starts))
            for link, (least, raised) in sides:
                made += 1
                heapq.heappush(heap, (least, depth - 1, made, raised, [*added, link]))
        return None

    def moved(self, period: int, starts: list[int]) -> tuple[int, ...]:
        """The same starts, each part of them moved by whole periods so that waits between parts hold."""
        between: list[WholeArc] = []
        for source, target, length, lag in self.links:
            one, other = self.parts[source], self.parts[target]
            if one != other:
                early = starts[source] + length - lag * period - starts[target]
                between.append((one, other, -(-early // period), 0))
        periods = [0] * len(starts)
        circle = positive_cycle(between, 0, periods)
        assert not circle, "parts that wait for each other are one part"
        return tuple(start + period * periods[part] for start, part in zip(starts, self.parts, strict=True))

    def relaxed(
        self, added: list[WholeArc], period: int, starts: list[int], at_most: int
    ) -> tuple[int, list[int]] | None:
        """The least period under these arcs, no less than the one given, and starts that have it."""
        links, raised = [*self.waits, *added], starts.copy()
        while cycle := positive_cycle(links, period, raised):
            length, lag = sum(link[2] for link in cycle), sum(link[3] for link in cycle)
            if lag <= 0 or length > at_most * lag:
                return None
            period = -(-length // lag)
            raised = starts.copy()
        return (period, raised) if period <= at_most else None

    def worst_overlap(
        self, period: int, starts: list[int], added: list[WholeArc], at_most: int
    ) -> list[tuple[WholeArc, tuple[int, list[int]]]] | None:
        """Both ways out of one overlap, without those that lead nowhere; none when nothing overlaps."""
        worst: tuple[float, list[tuple[WholeArc, tuple[int, list[int]]]]] | None = None
        for ways in self.overlaps(period, starts):
            sides = [
                (link, found)
                for link in ways
                if (found := self.relaxed([*added, link], period, starts, at_most)) is not None
            ]
            least = min((found[0] for _, found in sides), default=float("inf"))
            if worst is None or least > worst[0]:
                worst = (least, sides)
            if not sides:
                break
        return None if worst is None else worst[1]

    def overlaps(self, period: int, starts: list[int]) -> Iterator[tuple[WholeArc, WholeArc]]:
        """For each overlap, the arc that puts the one call before the other, and the reverse one."""
        for a, b in self.pairs:
            lasts, other_lasts = self.durations[a], self.durations[b]
            periods, apart = divmod(starts[b] - starts[a], period)
            if (apart >= lasts and period - apart >= other_lasts) or apart == other_lasts == 0:
                continue
            later = -periods if apart < lasts else -periods - 1
            yield (a, b, lasts, later), (b, a, other_lasts, -later)


def _parts(count: int, links: list[WholeArc]) -> list[int]:
    """The part of each call, numbered by its first call: calls that wait for each other in a circle."""
    graph = nx.DiGraph((source, target) for source, target, _, _ in links)
    graph.add_nodes_from(range(count))
    part = [0] * count
    for calls in nx.strongly_connected_components(graph):
        for call in calls:
            part[call] = min(calls)
    return part


def _tied(parts: list[int], links: list[WholeArc]) -> list[WholeArc]:
    """The arcs inside the parts, and arcs that hold the parts' first calls within a period."""
    kept = [link for link in links if parts[link[0]] == parts[link[1]]]
    first, *others = sorted(set(parts)) or [0]
    ties = [tie for other in others for tie in ((first, other, 0, 0), (other, first, 0, 1))]
    return [*kept, *ties]
