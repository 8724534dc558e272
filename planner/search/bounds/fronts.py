"""What colocated sets can achieve: their roles' options merged into undominated combinations, on all slots.

Without a width the fronts are exact: every combination of options that fits a device is either among them,
or undercut or equalled by one that is. Sets grow by one role at a time, in the order of the roles; what
undercuts a combination in every column that matters later still does when any option is added to both, so
that the combination is dropped at once. With a width at most so many combinations of a set and slot live on.
With a limit those go that only plans above it contain.

The written order of plans (`planner.search.solvers.cp.ties`) puts first the fewest devices, then the least
seconds of all calls together and then the least bytes: where it matters, a combination is only dropped for
one that does not come later there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from planner.search.arrays import Booleans, Integers
from planner.search.bounds.busy import Busy, Ceiling
from planner.search.bounds.features import Features
from planner.search.bounds.floors import Floors, Pools, members
from planner.search.bounds.front import Front
from planner.search.bounds.room import Room
from planner.search.options.dominance import undominated_in_groups
from planner.search.options.table import Options
from planner.search.problem import Problem


@dataclass(frozen=True, kw_only=True)
class Fronts:
    """The fronts of one problem, made when asked for."""

    floors: Floors
    compared: Features
    """What tells combinations apart."""
    width: int | None = None
    exact: "Fronts | None" = None
    """The same without a width, which spares pruning the roles' options again."""
    made: dict[tuple[str, ...], Front] = field(default_factory=dict)
    rooms: dict[str, Room] = field(default_factory=dict)
    loosest: dict[int, tuple[int, Front]] = field(default_factory=dict)
    """By set of roles, the greatest limit that was asked for, and the front within it."""

    @property
    def problem(self) -> Problem:
        return self.floors.problem

    @cached_property
    def busy(self) -> Busy:
        """What the written order of plans asks about."""
        return Busy.of(self.floors)

    def of(self, roles: int, allowed: Booleans) -> Front:
        """The combinations of a set of roles on some slots, by bytes no longer told apart.

        Parameters
        ----------
        roles
            Bit set.
        allowed
            Shape (slots,).
        """
        front = self._grown(members(self.problem, roles))
        front = front.take(np.flatnonzero(allowed[front.at]))
        return self._narrowed(_best(front, list(front.compared_us.T)))

    def within(self, roles: int, pools: Pools, limit_us: int) -> Front:
        """Those of some pools that a plan within a limit may contain, but for those that do not help.

        Of a combination that another one on no more devices makes superfluous only the latter is kept.
        """
        if roles not in self.loosest or self.loosest[roles][0] < limit_us:
            self.loosest[roles] = limit_us, self._within(roles, self.floors.pools, limit_us)
        front = self.loosest[roles][1]
        raised = np.maximum(front.us, pools.outside_us[roles, front.at])
        is_within = self.floors.features.bound_us(raised) <= limit_us
        return front.take(np.flatnonzero(is_within & pools.alive[roles, front.at]))

    def few_within(self, roles: int, pools: Pools, limit_us: int) -> Front:
        """The same, made on no other slots and not kept: for pools on few slots, asked for once."""
        return self._within(roles, pools, limit_us)

    def ordered_within(self, roles: int, pools: Pools, limit_us: int, ceiling: Ceiling) -> Front:
        """The same of those that may be in the first plan by the written order."""
        return self._within(roles, pools, limit_us, ceiling)

    def _within(self, roles: int, pools: Pools, limit_us: int, ceiling: Ceiling | None = None) -> Front:
        names = members(self.problem, roles)
        alive = pools.within(limit_us)[roles]
        front = self._grown(names[:1])
        front = front.take(np.flatnonzero(alive[front.at]))
        beside_us = None if ceiling is None else self.busy.outside_us(roles, ceiling.devices)
        for number in range(1, len(names) + 1):
            later = names[number:]
            raised = np.maximum(front.us + self._missing_us(front, later), pools.outside_us[roles, front.at])
            front = front.take(np.flatnonzero(self.floors.features.bound_us(raised) <= limit_us))
            if ceiling is not None and beside_us is not None:
                rest_us = beside_us + self._busy_us(later)
                front = front.take(np.flatnonzero(front.busy_us + rest_us[front.at] <= ceiling.busy_us))
            if later:
                told_by = front.busy_us[:, None] if self._is_all(roles) else front.compared_us
                columns = (*told_by.T, *self._bytes_that_matter(front, later))
                front = _best(front, columns, ordered=ceiling is not None)
                front = self._merged(front, self._grown(later[:1]))
        return self._on_fewest_devices(front, pools.outside_us[roles], ordered=ceiling is not None)

    def _is_all(self, roles: int) -> bool:
        """Whether a pool of these roles is alone in its plan, so that its calls run one after another.

        In either time model the plan then takes what they take together.
        """
        beside = any(call.us for call in self.problem.calls if call.role is None)
        return not beside and roles == (1 << len(self.problem.roles)) - 1

    def _missing_us(self, front: Front, later: Sequence[str]) -> Integers:
        """What roles still to come take at least of each feature in the bytes that are left for each.

        Each role's own bytes, the least persistent ones of the other roles to come, and what the combination
        has must fit a device.
        """
        missing: Integers = np.zeros_like(front.us)
        if later:
            left = self._room(front)[0] - front.persistent
            rooms = [self._room_of(role) for role in later]
            least = sum((room.least_persistent for room in rooms), np.zeros(1, dtype=np.int64))
            for room in rooms:
                others = (least - room.least_persistent)[front.at]
                missing = missing + room.within(front.at, left - others)
        return missing

    def _room_of(self, role: str) -> Room:
        if role not in self.rooms:
            self.rooms[role] = Room.of(self.floors, role)
        return self.rooms[role]

    def _busy_us(self, roles: Sequence[str]) -> Integers:
        """What all calls of some roles take at least on each slot, shape (slots,)."""
        numbers = [self.problem.roles.index(role) for role in roles]
        least: Integers = self.busy.at_slot[numbers].sum(axis=0)
        return least

    def _on_fewest_devices(self, front: Front, outside_us: Integers, *, ordered: bool) -> Front:
        """Those that no other one makes superfluous, whatever its slot."""
        columns = [*self.floors.resources.taken[front.at].T, *self._noticed(front, outside_us).T]
        if ordered:
            devices = np.array([slot.devices for slot in self.floors.resources.slots], dtype=np.int64)
            columns.append(devices[front.at] * (len(front) + 1) + front.order())
        return front.take(undominated_in_groups(np.zeros(len(front), dtype=np.int64), columns))

    def _noticed(self, front: Front, outside_us: Integers) -> Integers:
        """What of the combinations the rest of a plan can notice, shape (rows, columns).

        Not what the roles outside take of a feature anyway, nor how far a feature that is a bound of its own
        stays below what any plan costs.
        """
        if self.compared is not self.floors.features:
            return front.compared_us
        least_us = np.where(self.compared.is_bound, self.floors.pools.least_us, 0)
        noticed: Integers = np.maximum(np.maximum(front.us, outside_us[front.at]), least_us)
        return noticed

    def _grown(self, roles: tuple[str, ...]) -> Front:
        if roles not in self.made:
            if len(roles) == 1:
                front = self.exact._grown(roles) if self.exact else self._single(roles[0])
                others = [role for role in self.problem.roles if role not in roles]
            else:
                front = self._merged(self._grown(roles[:-1]), self._grown(roles[-1:]))
                others = list(self.problem.roles[self.problem.roles.index(roles[-1]) + 1 :])
            matters = self._bytes_that_matter(front, others)
            self.made[roles] = self._narrowed(
                _best(front, (*front.compared_us.T, *matters), ordered=len(roles) == 1)
            )
        return self.made[roles]

    def _single(self, role: str) -> Front:
        """All options of a role that fit a device alone."""
        tables = self.problem.options[role]
        slots = [(at, slot) for at, slot in enumerate(self.floors.resources.slots) if slot in tables]
        sizes = [len(tables[slot]) for _, slot in slots]

        def column(name: str) -> Integers:
            joined: Integers = np.concatenate([getattr(tables[slot], name) for _, slot in slots])
            return joined

        persistent, transient, host = column("persistent"), column("transient"), column("host")
        front = Front(
            roles=(role,),
            at=np.repeat(np.array([at for at, _ in slots], dtype=np.int64), sizes),
            us=np.concatenate([self.floors.features.us(role, slot) for _, slot in slots]),
            compared_us=np.concatenate([self.compared.us(role, slot) for _, slot in slots]),
            persistent=persistent,
            transient=transient,
            host=host,
            busy_us=column("call_us").sum(axis=1),
            bytes=persistent + transient + host,
            rows=np.concatenate([np.arange(size) for size in sizes])[:, None],
        )
        return front.take(np.flatnonzero(self._fits(front)))

    def _fits(self, front: Front) -> Booleans:
        memory, host_memory = self._room(front)
        fits: Booleans = (front.persistent + front.transient <= memory) & (front.host <= host_memory)
        return fits

    def _room(self, front: Front) -> tuple[Integers, Integers]:
        """Bytes of a device and of its part of host memory, by row."""
        names = [slot.node_pool for slot in self.floors.resources.slots]
        memory = np.array([self.problem.memory[name] for name in names], dtype=np.int64)
        host_memory = np.array([self.problem.host_memory[name] for name in names], dtype=np.int64)
        return memory[front.at], host_memory[front.at]

    def _merged(self, front: Front, single: Front) -> Front:
        """Each combination with each option of one more role on its slot, where both fit a device."""
        first = np.searchsorted(single.at, front.at, side="left")
        count = np.searchsorted(single.at, front.at, side="right") - first
        one = np.repeat(np.arange(len(front)), count)
        two = np.arange(len(one)) - np.repeat(np.cumsum(count) - count, count) + first[one]
        merged = Front(
            roles=(*front.roles, *single.roles),
            at=front.at[one],
            us=front.us[one] + single.us[two],
            compared_us=front.compared_us[one] + single.compared_us[two],
            persistent=front.persistent[one] + single.persistent[two],
            transient=np.maximum(front.transient[one], single.transient[two]),
            host=front.host[one] + single.host[two],
            busy_us=front.busy_us[one] + single.busy_us[two],
            bytes=front.bytes[one] + single.bytes[two],
            rows=np.concatenate([front.rows[one], single.rows[two]], axis=1),
        )
        return merged.take(np.flatnonzero(self._fits(merged)))

    def _bytes_that_matter(self, front: Front, later: Sequence[str]) -> tuple[Integers, ...]:
        """Columns of bytes, none where a combination fits whatever the roles still to come choose."""
        if not later:
            return ()
        memory, host_memory = self._room(front)
        persistent, host = front.persistent, front.host
        transient = front.transient
        for role in later:
            greatest = self._greatest(role)
            persistent = persistent + greatest[0][front.at]
            transient = np.maximum(transient, greatest[1][front.at])
            host = host + greatest[2][front.at]
        matters, spills = persistent + transient > memory, host > host_memory
        return front.persistent * matters, front.transient * matters, front.host * spills

    def _greatest(self, role: str) -> Integers:
        """Greatest persistent, transient and host bytes of a role's options, shape (3, slots)."""
        greatest = np.zeros((3, len(self.floors.resources.slots)), dtype=np.int64)
        for at, slot in enumerate(self.floors.resources.slots):
            table: Options | None = self.problem.options[role].get(slot)
            if table is not None:
                greatest[:, at] = table.persistent.max(), table.transient.max(), table.host.max()
        return greatest

    def _narrowed(self, front: Front) -> Front:
        """Of each slot the fastest combinations and, for a quarter of the width, the smallest."""
        if self.width is None:
            return front
        smallest = self.width // 4
        fast = _first_of_each(front.at, front.us.sum(axis=1), self.width - smallest)
        small = _first_of_each(front.at, front.persistent + front.transient + front.host, smallest)
        return front.take(np.union1d(fast, small))


def _best(front: Front, columns: Sequence[Integers], *, ordered: bool = False) -> Front:
    """The combinations of each slot that are undominated in some columns, and in the written order."""
    compared = [*columns, *([front.order()] if ordered else [])]
    return front.take(undominated_in_groups(front.at, compared))


def _first_of_each(groups: Integers, scores: Integers, count: int) -> Integers:
    """The so many least of each group."""
    order = np.lexsort((scores, groups))
    starts = np.searchsorted(groups[order], groups[order], side="left")
    first: Integers = order[np.arange(len(order)) - starts < count]
    return first
