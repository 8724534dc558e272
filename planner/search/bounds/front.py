"""Option combinations of a colocated set, with all that a plan may notice of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from planner.search.arrays import Integers
from planner.search.problem import PoolChoice
from planner.search.problem.allocation import Slot


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """Option combinations of some roles, one per row."""

    roles: tuple[str, ...]
    at: Integers
    """Number of the slot, rising; shape (rows,)."""
    us: Integers
    """What all roles together take of each feature, shape (rows, features)."""
    compared_us: Integers
    """What tells combinations apart: that, or the seconds of each call; shape (rows, columns)."""
    persistent: Integers
    """Sum of the roles' persistent bytes, shape (rows,)."""
    transient: Integers
    """Greatest of the roles' transient bytes, shape (rows,)."""
    host: Integers
    """Sum of the roles' bytes of host memory, shape (rows,)."""
    busy_us: Integers
    """Sum of all the roles' calls, shape (rows,)."""
    bytes: Integers
    """Sum of all the roles' bytes of any kind, shape (rows,)."""
    rows: Integers
    """Number of each role's option, shape (rows, roles)."""

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: Integers) -> "Front":
        """Some of the combinations."""
        return Front(
            roles=self.roles,
            at=self.at[rows],
            us=self.us[rows],
            compared_us=self.compared_us[rows],
            persistent=self.persistent[rows],
            transient=self.transient[rows],
            host=self.host[rows],
            busy_us=self.busy_us[rows],
            bytes=self.bytes[rows],
            rows=self.rows[rows],
        )

    def choice(self, row: int, slots: Sequence[Slot]) -> PoolChoice:
        """The pool that a combination stands for."""
        return PoolChoice(
            roles=self.roles, slot=slots[int(self.at[row])], rows=tuple(self.rows[row].tolist())
        )

    def order(self) -> Integers:
        """Ranks by the seconds of all calls and then the bytes, equal ones equal; shape (rows,)."""
        order = np.lexsort((self.bytes, self.busy_us))
        busy_us, size = self.busy_us[order], self.bytes[order]
        rank = np.zeros(len(order), dtype=np.int64)
        rank[order[1:]] = np.cumsum((np.diff(busy_us) != 0) | (np.diff(size) != 0))
        return rank
