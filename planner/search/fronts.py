"""What a colocated set can achieve on a slot: its roles' options merged into undominated combinations."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from planner.search.allocation import Slot
from planner.search.dominance import Integers, undominated
from planner.search.problem import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """Option combinations of some roles on one slot, one per row."""

    roles: tuple[str, ...]
    slot: Slot
    stage_us: Integers
    """Microseconds of all roles' calls in each stage, shape (rows, stages)."""
    persistent: Integers
    """Sum of the roles' persistent bytes, shape (rows,)."""
    transient: Integers
    """Greatest of the roles' transient bytes, shape (rows,)."""
    rows: Integers
    """Number of each role's option, shape (rows, roles)."""

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: Integers) -> "Front":
        """Some of the combinations."""
        return Front(
            roles=self.roles,
            slot=self.slot,
            stage_us=self.stage_us[rows],
            persistent=self.persistent[rows],
            transient=self.transient[rows],
            rows=self.rows[rows],
        )


def pool_fronts(problem: Problem, *, width: int | None = None) -> Iterator[Front]:
    """The undominated combinations of every set of roles that may form a pool, on each of its slots.

    Without a width these are exact: every combination of options that fits a device is either among them or
    no better in any stage than one that is. Sets grow by one role at a time, in the order of the roles; a
    combination that another one undercuts in every stage and in bytes stays undercut whatever is added, so it
    is dropped at once. With a width at most so many combinations of a set and slot live on.
    """
    for index in range(len(problem.roles)):
        for slot in problem.slots(problem.roles[index : index + 1]):
            yield from _growing(
                problem, _narrowed(_single(problem, problem.roles[index], slot), width), width
            )


def _growing(problem: Problem, front: Front, width: int | None) -> Iterator[Front]:
    if problem.may_share(front.roles):
        yield _narrowed(front.take(undominated(front.stage_us)), width)
    last = problem.roles.index(front.roles[-1])
    for role in problem.roles[last + 1 :]:
        if front.slot in problem.options[role] and not _kept_apart(problem, front.roles, role):
            grown = _merged(problem, front, role)
            grown = grown.take(undominated(_comparable(problem, grown)))
            if len(grown):
                yield from _growing(problem, _narrowed(grown, width), width)


def _kept_apart(problem: Problem, roles: tuple[str, ...], role: str) -> bool:
    return any(role in group and not group.isdisjoint(roles) for group in problem.apart)


def _single(problem: Problem, role: str, slot: Slot) -> Front:
    options = problem.options[role][slot]
    return Front(
        roles=(role,),
        slot=slot,
        stage_us=problem.stage_us(role, slot),
        persistent=options.persistent,
        transient=options.transient,
        rows=np.arange(len(options), dtype=np.int64)[:, None],
    )


def _merged(problem: Problem, front: Front, role: str) -> Front:
    """Each combination with each option of one more role, where both fit a device."""
    options = problem.options[role][front.slot]
    persistent = np.add.outer(front.persistent, options.persistent)
    transient = np.maximum.outer(front.transient, options.transient)
    one, other = np.nonzero(persistent + transient <= problem.memory[front.slot.node_pool])
    return Front(
        roles=(*front.roles, role),
        slot=front.slot,
        stage_us=front.stage_us[one] + problem.stage_us(role, front.slot)[other],
        persistent=persistent[one, other],
        transient=transient[one, other],
        rows=np.concatenate([front.rows[one], other[:, None]], axis=1),
    )


def _comparable(problem: Problem, front: Front) -> Integers:
    """Columns to compare combinations by.

    Bytes count as none where a combination fits whatever the roles still to come choose: there they can
    never tell two combinations apart.
    """
    later = problem.roles[problem.roles.index(front.roles[-1]) + 1 :]
    tables = [problem.options[role][front.slot] for role in later if front.slot in problem.options[role]]
    persistent = front.persistent + sum(int(table.persistent.max()) for table in tables)
    transient = np.maximum(front.transient, max((int(table.transient.max()) for table in tables), default=0))
    matters = persistent + transient > problem.memory[front.slot.node_pool]
    columns = (front.stage_us, (front.persistent * matters)[:, None], (front.transient * matters)[:, None])
    return np.concatenate(columns, axis=1)


def _narrowed(front: Front, width: int | None) -> Front:
    """The fastest combinations and, for a quarter of the width, the smallest."""
    if width is None or len(front) <= width:
        return front
    by_time = np.argsort(front.stage_us.sum(axis=1), kind="stable")
    by_bytes = np.argsort(front.persistent + front.transient, kind="stable")
    kept = np.union1d(by_time[: width - width // 4], by_bytes[: width // 4])
    return front.take(kept)
