"""What a role takes at least of each feature where only so many bytes of a device are left for it."""

from dataclasses import dataclass

import numpy as np

from planner.search.arrays import Integers
from planner.search.bounds.floors import NEVER, Floors


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A role's options on all slots, by slot and then by their bytes."""

    keys: Integers
    """Slot and bytes in one rising number, shape (options,)."""
    least_us: Integers
    """The least of the slot's options up to this one, shape (options + 1, features); the last is none."""
    first: Integers
    """Number of each slot's first option, shape (slots,)."""
    least_persistent: Integers
    """Shape (slots,); `NEVER` where the role has no option."""
    most: int
    """More bytes than any option has."""

    @classmethod
    def of(cls, floors: Floors, role: str) -> "Room":
        """That of all the role's options."""
        tables, slots = floors.problem.options[role], floors.resources.slots
        sizes = {slot: table.persistent + table.transient for slot, table in tables.items()}
        most = 1 + max(int(size.max()) for size in sizes.values())
        keys, least = [np.zeros(0, dtype=np.int64)], []
        first = np.zeros(len(slots), dtype=np.int64)
        persistent = np.full(len(slots), NEVER, dtype=np.int64)
        for at, slot in enumerate(slots):
            first[at] = sum(map(len, keys))
            if slot in tables:
                order = np.argsort(sizes[slot])
                keys.append(at * most + sizes[slot][order])
                least.append(np.minimum.accumulate(floors.features.us(role, slot)[order], axis=0))
                persistent[at] = tables[slot].persistent.min()
        none = np.full((1, floors.features.count), NEVER, dtype=np.int64)
        return cls(
            keys=np.concatenate(keys),
            least_us=np.concatenate([*least, none]),
            first=first,
            least_persistent=persistent,
            most=most,
        )

    def within(self, at: Integers, left: Integers) -> Integers:
        """The least of each feature on some slots in so many bytes, `NEVER` where nothing fits.

        Parameters
        ----------
        at
            Numbers of slots, shape (rows,).
        left
            Bytes of a device, shape (rows,).

        Returns
        -------
        Shape (rows, features).
        """
        room = np.clip(left, -1, self.most - 1)
        last = np.searchsorted(self.keys, at * self.most + room, side="right") - 1
        least: Integers = self.least_us[np.where((room >= 0) & (last >= self.first[at]), last, -1)]
        return least
