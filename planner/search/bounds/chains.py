"""Links of calls along the cycles of a dataflow's waits, which together bound the period from below."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from planner.search.problem import Problem, Wait

Link = frozenset[int]
"""Numbers of calls."""
Chain = tuple[Link, ...]
"""Disjoint links, each after the one before."""
MOST_CHAINS = 200
"""Bounds kept of a dataflow; fewer bound less tightly, and still bound."""


def chains_of(problem: Problem) -> list[tuple[Chain, int]]:
    """The chains along cycles of the waits with their lags, without those that other ones imply."""
    order = Order.of(problem)
    timed = frozenset(number for number, call in enumerate(problem.calls) if call.role is not None or call.us)
    found: dict[tuple[Chain, int], None] = {}
    for wait in (*problem.waits, *_own_iteration(problem)):
        if wait.lag and (wait.source == wait.target or order.precedes(wait.target, wait.source)):
            for chain in order.chains(wait.target, wait.source):
                links = tuple(link & timed for link in chain if link & timed)
                found[links, wait.lag] = None
    kept: list[tuple[Chain, int]] = []
    for chain, lag in sorted(found, key=lambda each: (each[1], -len(each[0]), str(each)))[:MOST_CHAINS]:
        if not _is_one_role(problem, chain) and not any(
            _implies(other, chain) and other_lag <= lag for other, other_lag in kept
        ):
            kept.append((chain, lag))
    return list(dict.fromkeys((_by_role(problem, chain), lag) for chain, lag in kept))


def _by_role(problem: Problem, chain: Chain) -> Chain:
    """The chain with the links of one role put together: they add up in its pool whatever the placement."""
    alone: dict[int, Link] = {}
    shared: list[Link] = []
    for link in chain:
        roles = {problem.calls[call].role for call in link}
        role = next(iter(roles))
        if len(roles) == 1 and role is not None:
            alone[role] = alone.get(role, frozenset()) | link
        else:
            shared.append(link)
    return (*alone.values(), *shared)


def _own_iteration(problem: Problem) -> Iterator[Wait]:
    """Where pools cannot interleave iterations: a role's calls of one are over before those of the next."""
    if not problem.interleaves:
        for source, one in enumerate(problem.calls):
            for target, other in enumerate(problem.calls):
                if one.role is not None and one.role == other.role:
                    yield Wait(source=source, target=target, lag=1)


def _is_one_role(problem: Problem, chain: Chain) -> bool:
    """Whether one pool's load holds all of it, whatever the placement."""
    roles = {problem.calls[call].role for link in chain for call in link}
    return len(roles) == 1 and None not in roles


def _implies(one: Chain, other: Chain) -> bool:
    """Whether each link of the other is covered by links of the one that cover no other of its links."""
    home = {call: number for number, link in enumerate(one) for call in link}
    used: set[int] = set()
    for link in other:
        homes = {home.get(call, -1) for call in link}
        if -1 in homes or homes & used:
            return False
        used |= homes
    return True


@dataclass(frozen=True, slots=True)
class Order:
    """Which calls of an iteration come after which."""

    after: tuple[frozenset[int], ...]
    """By call, those that come after it in the same iteration."""

    @classmethod
    def of(cls, problem: Problem) -> "Order":
        after = [
            {wait.target for wait in problem.waits if wait.lag == 0 and wait.source == call}
            for call in range(len(problem.calls))
        ]
        for middle in range(len(after)):
            for later in after:
                if middle in later:
                    later |= after[middle]
        return cls(tuple(map(frozenset, after)))

    def precedes(self, one: int, other: int) -> bool:
        return other in self.after[one]

    def between(self, first: int, last: int) -> Link:
        """Calls after the first and before the last."""
        return frozenset(call for call in self.after[first] if self.precedes(call, last))

    def chains(self, first: int, last: int) -> list[Chain]:
        """The chains from one call to another one, both included."""
        if first == last:
            return [(frozenset({first}),)]
        return [(frozenset({first}), *links, frozenset({last})) for links in self.inner_chains(first, last)]

    def inner_chains(self, first: int, last: int) -> list[Chain]:
        """Those of the calls between: all at once, or split at a call that must lie between."""
        inner = self.between(first, last)
        if not inner:
            return [()]
        cuts = [call for call in sorted(inner) if self._is_cut(call, inner)]
        whole: list[Chain] = [] if cuts else [(inner,)]
        return whole + [
            (*before, frozenset({call}), *later)
            for call in cuts[:1] or sorted(inner)
            for before, later in product(self.inner_chains(first, call), self.inner_chains(call, last))
        ]

    def _is_cut(self, call: int, inner: Link) -> bool:
        """Whether every other call comes before or after this one."""
        return all(
            other == call or self.precedes(call, other) or self.precedes(other, call) for other in inner
        )
