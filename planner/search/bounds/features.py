"""What the rest of a plan notices of a pool, in both time models: microseconds that add up inside the pool.

A feature is a set of calls. What a pool takes of it is the sum of the pool's calls in the set; what a plan
takes is the maximum over its pools. A plan costs at least the greatest of some bounds, each a sum of features
over a number of iterations:

- ``stage``: the features are the stages and the one bound is their sum, which is the cost itself (HybridFlow,
  algorithm 1, ``d_cost``).
- ``period``: one feature is all calls, the pool's load, which one period must hold. The others are links of
  chains: along a cycle of the waits, calls that all come after one call and before another one run between
  the two, those of one pool one after another; so the links of the cycle together last at most the period
  times the cycle's lag. These bound the least period and equal it in most plans.

Calls without devices overlap with everything, so they enter as if each were a pool of its own. Where a wait
that crosses from one node pool to another takes time, further features count which node pools a role lives
in, and further bounds follow the waits of a cycle one by one, with the crossings that these imply. A plan
also costs at least what its roles' homes send over any link in one direction, which is left out where that
cannot be more than what every plan costs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from types import MappingProxyType

import numpy as np

from planner.search.arrays import Booleans, Integers
from planner.search.bounds.chains import MOST_CHAINS, Link, chains_of
from planner.search.problem import Problem, Wait
from planner.search.problem.allocation import Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """Sets of calls, and the bounds that follow from them."""

    problem: Problem
    of_calls: Mapping[str, Integers]
    """By role: whether each of its calls is in each feature, shape (calls, features)."""
    beside_us: Integers
    """What calls without devices take of each feature, shape (features,)."""
    sums: Integers
    """Which features each bound adds up, shape (bounds, features)."""
    lags: Integers
    """Iterations over which it does, shape (bounds,)."""
    homes: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """The feature that counts whether a role lives in a node pool, by both; none where that costs nothing."""
    crossings: Mapping[tuple[str, str], Integers] = field(default_factory=dict)
    """Microseconds of each bound that pass if two roles live in different node pools, shape (bounds,)."""
    loads: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Microseconds of the link that a second role waits for a first one's calls where they do; none where no
    link decides."""

    @classmethod
    def of(cls, problem: Problem) -> "Features":
        """Those of the problem's time model."""
        return _stages(problem) if problem.time_model == "stage" else _periods(problem)

    @classmethod
    def by_call(cls, problem: Problem) -> "Features":
        """Each call for itself, without any bound: all that any time model can notice."""
        calls = [frozenset({number}) for number, call in enumerate(problem.calls) if call.role is not None]
        return _features(problem, calls, [], [])

    @property
    def count(self) -> int:
        return len(self.beside_us)

    @property
    def is_bound(self) -> Booleans:
        """Whether each feature is in no bound but one of its own, shape (features,)."""
        alone = self.sums[(self.sums.sum(axis=1) == 1) & (self.lags == 1)].any(axis=0)
        together = self.sums[self.sums.sum(axis=1) > 1].any(axis=0)
        others = self.sums[self.lags > 1].any(axis=0)
        found: Booleans = alone & ~together & ~others
        return found

    def us(self, role: str, slot: Slot) -> Integers:
        """What the role's options on a slot take, shape (options, features)."""
        total: Integers = self.problem.options[role][slot].call_us @ self.of_calls[role]
        if (role, slot.node_pool) in self.homes:
            total[:, self.homes[role, slot.node_pool]] = 1
        return total

    def bound_us(self, us: Integers) -> Integers:
        """What a plan that takes this costs at least; exactly that under ``stage``.

        Parameters
        ----------
        us
            Shape (..., features).

        Returns
        -------
        Shape (...).
        """
        sums = np.maximum(us, self.beside_us) @ self.sums.T
        for (one, other), crossing_us in self.crossings.items():
            sums = sums + self._lie_apart(us, one, other)[..., None] * crossing_us
        least: Integers = (-(-sums // self.lags)).max(axis=-1)
        return np.maximum(least, self._load_us(us)) if self.loads else least

    def _load_us(self, us: Integers) -> Integers:
        """What is known to cross in one iteration from one node pool to another, the most of all links."""
        roles = sorted({role for pair in self.loads for role in pair})
        sent_us = np.array([[self.loads.get((one, other), 0) for other in roles] for one in roles])
        lives = {
            name: us[..., [self.homes[role, name] for role in roles]] > 0 for name in self.problem.capacities
        }
        links = [
            ((lives[here] @ sent_us) * lives[there]).sum(axis=-1)
            for here, there in permutations(self.problem.capacities, 2)
        ]
        most: Integers = np.maximum.reduce(links)
        return most

    def _lie_apart(self, us: Integers, one: str, other: str) -> Integers:
        """1 where two roles are known to live in different node pools, else 0."""
        pools = list(self.problem.capacities)
        both = [
            np.minimum(us[..., self.homes[one, here]], 1) + np.minimum(us[..., self.homes[other, there]], 1)
            for here in pools
            for there in pools
            if here != there
        ]
        apart: Integers = np.maximum.reduce(both) // 2
        return apart


def _stages(problem: Problem) -> Features:
    stages = [
        frozenset(number for number, call in enumerate(problem.calls) if call.stage == stage)
        for stage in range(problem.stages)
    ]
    features = _features(problem, stages, [stages], [1])
    beside = np.zeros(problem.stages, dtype=np.int64)
    for call in problem.calls:
        if call.role is None:
            beside[call.stage] += call.us
    return Features(
        problem=problem,
        of_calls=features.of_calls,
        beside_us=beside,
        sums=features.sums,
        lags=features.lags,
    )


def _periods(problem: Problem) -> Features:
    load = frozenset(number for number, call in enumerate(problem.calls) if call.role is not None)
    circles = _circles(problem)
    alone = [(tuple(frozenset({wait.source}) for wait in circle), _lag(circle)) for circle in circles]
    chains = [((load,), 1), *chains_of(problem), *alone]
    links = list(dict.fromkeys(link for chain, _ in chains for link in chain))
    features = _features(problem, links, [chain for chain, _ in chains], [lag for _, lag in chains])
    crossings: dict[tuple[str, str], Integers] = {}
    for bound, circle in enumerate(circles, start=len(chains) - len(circles)):
        for wait in circle:
            roles = crossing_roles(problem, wait)
            if roles:
                per_bound = crossings.setdefault(roles, np.zeros(len(chains), dtype=np.int64))
                per_bound[bound] += wait.crossing_us
    return _with_homes(features, crossings, _loads(problem))


def _loads(problem: Problem) -> dict[tuple[str, str], int]:
    """What each role sends to each other one, unless any plan costs as much as all of it together."""
    loads: dict[tuple[str, str], int] = {}
    for wait in problem.waits:
        source, target = (problem.calls[call].role for call in (wait.source, wait.target))
        if source is not None and target is not None and crossing_roles(problem, wait):
            pair = problem.roles[source], problem.roles[target]
            loads[pair] = loads.get(pair, 0) + wait.crossing_us
    least_us = max(
        min((int(table.call_us.sum(axis=1).min()) for table in tables.values()), default=0)
        for tables in problem.options.values()
    )
    return loads if sum(loads.values()) > least_us else {}


def _with_homes(
    features: Features, crossings: Mapping[tuple[str, str], Integers], loads: Mapping[tuple[str, str], int]
) -> Features:
    """More features: whether each role whose waits may cross lives in each node pool."""
    problem = features.problem
    roles = [role for role in problem.roles if any(role in pair for pair in (*crossings, *loads))]
    homes = [(role, node_pool) for role in roles for node_pool in problem.capacities]
    return Features(
        problem=problem,
        of_calls={role: _widened(of, len(homes)) for role, of in features.of_calls.items()},
        beside_us=_widened(features.beside_us, len(homes)),
        sums=_widened(features.sums, len(homes)),
        lags=features.lags,
        homes={home: features.count + number for number, home in enumerate(homes)},
        crossings=crossings,
        loads=loads,
    )


def _widened(values: Integers, columns: int) -> Integers:
    return np.concatenate([values, np.zeros((*values.shape[:-1], columns), dtype=np.int64)], axis=-1)


def crossing_roles(problem: Problem, wait: Wait) -> tuple[str, str] | None:
    """The roles, in their order, between which a wait takes time across node pools; none if it does not."""
    ends = {problem.calls[wait.source].role, problem.calls[wait.target].role} - {None}
    if len(ends) < 2 or wait.crossing_us == 0 or len(problem.capacities) == 1:
        return None
    one, other = sorted(number for number in ends if number is not None)
    return problem.roles[one], problem.roles[other]


def _circles(problem: Problem) -> list[tuple[Wait, ...]]:
    """Cycles with one wait for an earlier iteration, where any wait takes time across node pools."""
    if not any(crossing_roles(problem, wait) for wait in problem.waits):
        return []
    onward: dict[int, list[Wait]] = {}
    for wait in problem.waits:
        if wait.lag == 0:
            onward.setdefault(wait.source, []).append(wait)
    closing = [wait for wait in problem.waits if wait.lag]
    return [(*path, wait) for wait in closing for path in _paths(onward, wait.target, wait.source)][
        :MOST_CHAINS
    ]


def _paths(onward: Mapping[int, Sequence[Wait]], first: int, last: int) -> Iterator[tuple[Wait, ...]]:
    if first == last:
        yield ()
    for wait in onward.get(first, ()):
        for rest in _paths(onward, wait.target, last):
            yield (wait, *rest)


def _lag(circle: Sequence[Wait]) -> int:
    return sum(wait.lag for wait in circle)


def _features(
    problem: Problem, links: Sequence[Link], bounds: Sequence[Sequence[Link]], lags: Sequence[int]
) -> Features:
    numbers: dict[int, list[int]] = {role: [] for role in range(len(problem.roles))}
    for number, call in enumerate(problem.calls):
        if call.role is not None:
            numbers[call.role].append(number)
    beside = [
        max((problem.calls[call].us for call in link if problem.calls[call].role is None), default=0)
        for link in links
    ]
    return Features(
        problem=problem,
        of_calls=MappingProxyType(
            {
                name: np.array([[call in link for link in links] for call in numbers[role]], dtype=np.int64)
                for role, name in enumerate(problem.roles)
            }
        ),
        beside_us=np.array(beside, dtype=np.int64),
        sums=np.array([[link in bound for link in links] for bound in bounds], dtype=np.int64).reshape(
            len(bounds), len(links)
        ),
        lags=np.array(lags, dtype=np.int64),
    )
