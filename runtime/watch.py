"""Waiting for workers: the first failure ends the run with the role, the rank and its own traceback."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import ray
from ray import ObjectRef
from ray.exceptions import RayActorError, RayError, RayTaskError

from planner.domain.dataflow import CallKind
from planner.errors import PlannerError, WorkerError
from runtime.workers.call import Report

GRACE_SECONDS = 0.3
"""Ranks that lose their peer fail too; the true culprit is among those that fail within this time."""
_LOST_PEER = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Timed out waiting")


class Origin(NamedTuple):
    """Who owes an answer."""

    call: str
    role: str
    rank: int


def wait_for(expected: Mapping[ObjectRef, Origin]) -> dict[ObjectRef, Any]:
    """The answers to all references, or the first failure.

    Raises
    ------
    WorkerError
        When a worker failed or died; the others may still be at work.
    PlannerError
        What a worker raised to explain a mistake in the input.
    """
    pending, answers = dict(expected), {}
    while pending:
        found = some_answers(pending)
        answers |= found
        pending = {ref: origin for ref, origin in pending.items() if ref not in found}
    return answers


def some_answers(expected: Mapping[ObjectRef, Origin]) -> dict[ObjectRef, Any]:
    """Wait for the first answer, and take what others are there, in the order of their calls.

    Raises
    ------
    WorkerError, PlannerError
        As `wait_for`.
    """
    ray.wait(list(expected), num_returns=1)
    ready, _ = ray.wait(list(expected), num_returns=len(expected), timeout=0)
    for ref in ready:
        if _failure(ref) is not None:
            raise _explain(_culprit(expected, list(expected)), expected) from None
    return {ref: ray.get(ref) for ref in ready}


def _nothing(call: "SubmittedCall") -> None:
    """For a call that no one waits for."""


@dataclass(slots=True, kw_only=True)
class SubmittedCall:
    """A call that is on its way, and the reports of its ranks so far."""

    pool: str
    role: str
    name: str
    kind: CallKind
    ranks: int
    then: Callable[["SubmittedCall"], None] = _nothing
    """What to do once all ranks have reported; forgotten when it is done."""
    of_ranks: dict[int, Report] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        return len(self.of_ranks) == self.ranks

    @property
    def reports(self) -> tuple[Report, ...]:
        """The reports in rank order."""
        return tuple(self.of_ranks[rank] for rank in sorted(self.of_ranks))


class Traffic:
    """All calls that are under way."""

    def __init__(self) -> None:
        self._calls: dict[ObjectRef, tuple[SubmittedCall, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, report: ObjectRef, call: SubmittedCall, rank: int) -> None:
        """Note that a rank owes the report of a call."""
        self._calls[report] = call, rank

    def settle(self) -> None:
        """Wait until something is reported, and do what was to be done then.

        Raises
        ------
        WorkerError, PlannerError
            As `wait_for`.
        """
        origins = {report: Origin(call.name, call.role, rank) for report, (call, rank) in self._calls.items()}
        for report, answer in some_answers(origins).items():
            call, rank = self._calls.pop(report)
            call.of_ranks[rank] = answer
            if call.is_over:
                then, call.then = call.then, _nothing  # it refers back to the call: rows would stay for long
                then(call)


def _failure(ref: ObjectRef) -> RayError | None:
    try:
        ray.get(ref)
    except (RayActorError, RayTaskError) as error:
        return error
    return None


def _culprit(
    expected: Mapping[ObjectRef, Origin], suspects: Sequence[ObjectRef]
) -> tuple[ObjectRef, RayError]:
    """The failure that caused the others: a death before an error, an error before a lost peer."""
    in_order = [ref for ref in expected if ref in set(suspects)]
    settled, _ = ray.wait(in_order, num_returns=len(in_order), timeout=GRACE_SECONDS)
    failures = [
        (ref, error) for ref in in_order if ref in set(settled) and (error := _failure(ref)) is not None
    ]
    return min(failures, key=lambda failure: _rank_of_blame(failure[1]))


def _rank_of_blame(error: RayError) -> int:
    if isinstance(error, RayActorError):
        return 0
    return 2 if any(text in str(error) for text in _LOST_PEER) else 1


def _explain(failure: tuple[ObjectRef, RayError], expected: Mapping[ObjectRef, Origin]) -> PlannerError:
    """The failure with its origin; an error of our own speaks for itself."""
    ref, error = failure
    if isinstance(error, RayTaskError) and isinstance(error.cause, PlannerError):
        return error.cause
    call, role, rank = expected[ref]
    where = f"{role}: rank {rank}"
    if isinstance(error, RayTaskError):
        text = str(error)
        last = text.strip().splitlines()[-1]
        return WorkerError(f"{where} failed in {call}: {last}", role=role, rank=rank, traceback=text)
    advice = "the machine may be out of memory (see dmesg), or someone killed the process"
    first = str(error).strip().splitlines()[0]
    return WorkerError(
        f"{where} died in {call}: {first}; {advice}", role=role, rank=rank, traceback=str(error)
    )
