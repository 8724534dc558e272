"""Waiting for workers: the first failure ends the run with the role, the rank and its own traceback."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import ray
from ray import ObjectRef
from ray.exceptions import RayActorError, RayError, RayTaskError

from planner.errors import PlannerError, WorkerError

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
    answers: dict[ObjectRef, Any] = {}
    pending = list(expected)
    while pending:
        ready, pending = ray.wait(pending, num_returns=1)
        failure = _failure(ready[0])
        if failure is not None:
            raise _explain(_culprit(expected, [*ready, *pending]), expected) from None
        answers[ready[0]] = ray.get(ready[0])
    return answers


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
