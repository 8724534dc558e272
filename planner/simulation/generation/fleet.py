"""All replicas of one call: who gets which prompts, and when each of them is done."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from math import ceil
from typing import Literal

import numpy as np

from planner.simulation.generation.clock import StepClock
from planner.simulation.generation.replica import FOREVER, Replica
from planner.simulation.generation.requests import Requests, Whole
from planner.simulation.generation.sequences import Limits
from planner.simulation.generation.sequences import Sequence as Response

Balance = Literal["split", "queue"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one replica did, and how many others did the same."""

    replica: Replica
    times: int = 1
    asked: int
    """Responses that it was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of all requests."""

    parts: tuple[Part, ...]
    end_s: float
    left: Requests
    """Unfinished ones, as far as they came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Equal replicas."""

    clock: StepClock
    limits: Limits
    replicas: int
    balance: Balance

    def serve(self, requests: Requests, *, enough: int | None = None) -> Outcome:
        """Generate all responses, or until so many are done.

        With ``enough`` everything is played twice: once to see when that is, and again to see how far the
        others have come by then.
        """
        parts = self._played(requests, FOREVER)
        ends = np.sort(np.concatenate([_ends(part) for part in parts]))
        if enough is None or enough >= len(requests):
            return Outcome(parts=parts, end_s=float(ends[-1]), left=requests.some(np.array([], dtype=int)))
        end = float(ends[enough - 1])
        parts = self._played(requests, end)
        return Outcome(parts=parts, end_s=end, left=_left(requests, parts))

    def _played(self, requests: Requests, until: float) -> tuple[Part, ...]:
        if self.balance == "queue":
            return tuple(self._queued(requests, until))
        return tuple(self._split(requests, until))

    def _split(self, requests: Requests, until: float) -> Iterator[Part]:
        """Equal parts in their order; replicas that have the same to do are played once."""
        counted: dict[bytes, list[int]] = {}
        bounds = _bounds(len(requests), self.replicas)
        is_anonymous = until == FOREVER
        for number, (low, high) in enumerate(bounds):
            key = _key(requests, low, high) if is_anonymous else number.to_bytes(4, "big")
            counted.setdefault(key, []).append(number)
        for numbers in counted.values():
            low, high = bounds[numbers[0]]
            replica = self._replica(requests)
            for response in _responses(requests, range(low, high)):
                replica.ask(response)
            while not replica.is_done and replica.advance(until):
                pass
            yield Part(replica=replica, times=len(numbers), asked=high - low)

    def _queued(self, requests: Requests, until: float) -> Iterator[Part]:
        """Prompts in their order, each with all its samples to the replica that first has a place free.

        Replicas stand in line by their own clocks, so that no prompt is given away before its time.
        """
        waiting, responses = deque(_groups(requests)), list(_responses(requests, range(len(requests))))
        replicas = [self._replica(requests) for _ in range(self.replicas)]
        asked = [0] * self.replicas
        line = [(0.0, 0, number) for number in range(self.replicas)]
        while line:
            _, _, number = heappop(line)
            replica, goes_on = replicas[number], True
            if waiting and _takes(replica):
                for index in (group := waiting.popleft()):
                    replica.ask(responses[index])
                asked[number] += len(group)
            elif replica.is_done:
                continue
            else:
                goes_on = replica.advance(until)
            if goes_on:
                heappush(line, (replica.time, replica.load, number))
        for replica, count in zip(replicas, asked, strict=True):
            yield Part(replica=replica, asked=count)

    def _replica(self, requests: Requests) -> Replica:
        return Replica(clock=self.clock, limits=self.limits, answer_tokens=requests.answer_tokens)


def _takes(replica: Replica) -> bool:
    """Whether a replica has a place free for one more, or nothing to do."""
    return replica.is_done or (replica.load < replica.limits.sequences and not replica.is_blocked)


def _bounds(count: int, replicas: int) -> list[tuple[int, int]]:
    """First and last + 1 of each part; the first parts have one more where they don't divide."""
    whole, more = divmod(count, replicas)
    ends = np.cumsum([whole + (number < more) for number in range(replicas)]).tolist()
    return [(low, high) for low, high in zip([0, *ends[:-1]], ends, strict=True) if high > low]


def _groups(requests: Requests) -> Iterator[list[int]]:
    """Numbers of the responses of each prompt."""
    starts = np.flatnonzero(np.diff(requests.group, prepend=-1)).tolist()
    for low, high in zip(starts, [*starts[1:], len(requests)], strict=True):
        yield list(range(low, high))


def _key(requests: Requests, low: int, high: int) -> bytes:
    """Equal for parts that take the same course."""
    part = slice(low, high)
    columns = (requests.group[part] - requests.group[low], requests.prompt[part], requests.response[part])
    return b"".join(column.tobytes() for column in (*columns, requests.produced[part], requests.waits[part]))


def _responses(requests: Requests, numbers: Sequence[int]) -> Iterator[Response]:
    """As the replica sees them; one that was waiting for an answer when it was cut off has it by now."""
    of = np.asarray(numbers)
    columns = (requests.group[of], requests.prompt[of], requests.response[of], requests.produced[of])
    rows = zip(numbers, *(column.tolist() for column in columns), requests.waits[of].tolist(), strict=True)
    for number, group, prompt, response, produced, waits in rows:
        stops = _stops(response, len(waits))
        later = [stop for stop in stops if stop > produced]
        yield Response(
            index=number,
            group=group,
            prompt=prompt,
            stops=later[::-1],
            waits=waits[len(waits) - len(later) + 1 :][::-1],
            produced=produced,
            own=produced + (len(stops) - len(later)) * requests.answer_tokens,
        )


def _stops(response: int, answers: int) -> list[int]:
    """Tokens at the end of each turn; of short responses some turns are empty, and left out."""
    if not answers:
        return [response]
    turns = answers + 1
    return sorted({ceil(response * turn / turns) for turn in range(1, turns)} | {response})


def _ends(part: Part) -> Whole:
    return np.repeat([time for time, _ in part.replica.finished], part.times)


def _left(requests: Requests, parts: Sequence[Part]) -> Requests:
    """What the replicas have not finished, in the order in which it was asked for."""
    done = [index for part in parts for _, index in part.replica.finished]
    numbers = np.setdiff1d(np.arange(len(requests)), done)
    produced = requests.produced.copy()
    for part in parts:
        for index, tokens in part.replica.unfinished():
            produced[index] = tokens
    return replace(requests, produced=produced).some(numbers)
