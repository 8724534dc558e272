"""What a colocated set can achieve on a slot: its roles' options merged into undominated combinations."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from planner.search.allocation import Slot
from planner.search.dominance import Integers, undominated
from planner.search.features import Features
from planner.search.problem import PoolChoice, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """Option combinations of some roles on one slot, one per row."""

    roles: tuple[str, ...]
    slot: Slot
    us: Integers
    """What all roles together take of each feature, shape (rows, features)."""
    persistent: Integers
    """Sum of the roles' persistent bytes, shape (rows,)."""
    transient: Integers
    """Greatest of the roles' transient bytes, shape (rows,)."""
    host: Integers
    """Sum of the roles' bytes of host memory, shape (rows,)."""
    rows: Integers
    """Number of each role's option, shape (rows, roles)."""

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: Integers) -> "Front":
        """Some of the combinations."""
        return Front(
            roles=self.roles,
            slot=self.slot,
            us=self.us[rows],
            persistent=self.persistent[rows],
            transient=self.transient[rows],
            host=self.host[rows],
            rows=self.rows[rows],
        )

    def choice(self, row: int) -> PoolChoice:
        """The pool that a combination stands for."""
        return PoolChoice(roles=self.roles, slot=self.slot, rows=tuple(self.rows[row].tolist()))


@dataclass(frozen=True, kw_only=True)
class Fronts:
    """The undominated combinations of any set of roles on any slot, made when asked for.

    Without a width these are exact: every combination of options that fits a device is either among them or
    takes no less of any feature than one that is. Sets grow by one role at a time, in the order of the roles;
    a combination that another one undercuts in every feature and in bytes stays undercut whatever is added,
    so it is dropped at once. With a width at most so many combinations of a set and slot live on.
    """

    problem: Problem
    features: Features
    width: int | None = None
    grown: dict[tuple[tuple[str, ...], Slot], Front] = field(default_factory=dict)

    def of(self, roles: Sequence[str], slot: Slot) -> Front:
        """The combinations of exactly these roles, bytes no longer told apart."""
        front = self._grown(tuple(roles), slot)
        return self._narrowed(front.take(undominated(front.us)))

    def all(self) -> Iterator[Front]:
        """Those of every set of roles that may form a pool, on each of its slots, where there are any."""
        for number in range(1, 1 << len(self.problem.roles)):
            roles = tuple(role for at, role in enumerate(self.problem.roles) if number >> at & 1)
            if self.problem.may_share(roles):
                for slot in self.problem.slots(roles):
                    front = self.of(roles, slot)
                    if len(front):
                        yield front

    def _grown(self, roles: tuple[str, ...], slot: Slot) -> Front:
        if (roles, slot) not in self.grown:
            if len(roles) == 1:
                front = self._single(roles[0], slot)
            else:
                front = self._merged(self._grown(roles[:-1], slot), roles[-1])
            front = front.take(undominated(self._comparable(front)))
            self.grown[roles, slot] = self._narrowed(front)
        return self.grown[roles, slot]

    def _single(self, role: str, slot: Slot) -> Front:
        options = self.problem.options[role][slot]
        fitting = np.flatnonzero(
            (options.persistent + options.transient <= self.problem.memory[slot.node_pool])
            & (options.host <= self.problem.host_memory[slot.node_pool])
        )
        return Front(
            roles=(role,),
            slot=slot,
            us=self.features.us(role, slot)[fitting],
            persistent=options.persistent[fitting],
            transient=options.transient[fitting],
            host=options.host[fitting],
            rows=fitting[:, None],
        )

    def _merged(self, front: Front, role: str) -> Front:
        """Each combination with each option of one more role, where both fit a device."""
        other = self._grown((role,), front.slot)
        persistent = np.add.outer(front.persistent, other.persistent)
        transient = np.maximum.outer(front.transient, other.transient)
        host = np.add.outer(front.host, other.host)
        fits = (persistent + transient <= self.problem.memory[front.slot.node_pool]) & (
            host <= self.problem.host_memory[front.slot.node_pool]
        )
        one, two = np.nonzero(fits)
        return Front(
            roles=(*front.roles, role),
            slot=front.slot,
            us=front.us[one] + other.us[two],
            persistent=persistent[one, two],
            transient=transient[one, two],
            host=host[one, two],
            rows=np.concatenate([front.rows[one], other.rows[two]], axis=1),
        )

    def _comparable(self, front: Front) -> Integers:
        """Columns to compare combinations by.

        Bytes count as none where a combination fits whatever the roles still to come choose: there they can
        never tell two combinations apart. Only roles after the last one are still to come.
        """
        later = self.problem.roles[self.problem.roles.index(front.roles[-1]) + 1 :]
        if len(front.roles) == 1:
            later = tuple(role for role in self.problem.roles if role != front.roles[0])
        tables = [
            self.problem.options[role][front.slot]
            for role in later
            if front.slot in self.problem.options[role]
        ]
        persistent = front.persistent + sum(int(table.persistent.max()) for table in tables)
        transient = np.maximum(
            front.transient, max((int(table.transient.max()) for table in tables), default=0)
        )
        host = front.host + sum(int(table.host.max()) for table in tables)
        matters = persistent + transient > self.problem.memory[front.slot.node_pool]
        spills = host > self.problem.host_memory[front.slot.node_pool]
        bytes_columns = (front.persistent * matters, front.transient * matters, front.host * spills)
        return np.concatenate([front.us, *(column[:, None] for column in bytes_columns)], axis=1)

    def _narrowed(self, front: Front) -> Front:
        """The fastest combinations and, for a quarter of the width, the smallest."""
        if self.width is None or len(front) <= self.width:
            return front
        by_time = np.argsort(front.us.sum(axis=1), kind="stable")
        by_bytes = np.argsort(front.persistent + front.transient + front.host, kind="stable")
        kept = np.union1d(by_time[: self.width - self.width // 4], by_bytes[: self.width // 4])
        return front.take(kept)
