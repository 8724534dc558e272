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
from planner.simulation.generation.requests import Floats, Requests
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
        """Generate all responses, or until so many prompts have all theirs.

        With ``enough`` everything is played twice: once to see when that is, and again to see how far the
        others have come by then.
        """
        if enough is None or enough >= requests.prompts:
            parts = self._played(requests)
            end = max(time for part in parts for time, _ in part.replica.finished)
            return Outcome(parts=parts, end_s=end, left=requests.some(np.array([], dtype=int)))
        end = float(_completions(requests, self._played(requests, each=True))[enough - 1])
        parts = self._played(requests, end, each=True)
        return Outcome(parts=parts, end_s=end, left=_left(requests, parts))

    def _played(self, requests: Requests, until: float = FOREVER, *, each: bool = False) -> tuple[Part, ...]:
        """Every replica's part; those with the same to do as one, unless ``each`` is wanted."""
        if self.balance == "queue":
            return tuple(self._queued(requests, until))
        return tuple(self._split(requests, until, each=each))

    def _split(self, requests: Requests, until: float, *, each: bool) -> Iterator[Part]:
        """Equal parts in their order; where some have begun, all are dealt out."""
        shares = (_dealt if requests.produced.any() else _in_order)(requests, self.replicas)
        counted: dict[bytes, list[int]] = {}
        for number, share in enumerate(shares):
            key = number.to_bytes(4, "big") if each else _key(requests, share)
            counted.setdefault(key, []).append(number)
        for numbers in counted.values():
            share = shares[numbers[0]]
            replica = self._replica(requests)
            for response in _responses(requests, share):
                replica.ask(response)
            while not replica.is_done and replica.advance(until):
                pass
            yield Part(replica=replica, times=len(numbers), asked=len(share))

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


def _in_order(requests: Requests, replicas: int) -> list[Sequence[int]]:
    """Numbers of each part's responses; the first parts have one more where they don't divide."""
    whole, more = divmod(len(requests), replicas)
    ends = np.cumsum([whole + (number < more) for number in range(replicas)]).tolist()
    return [range(low, high) for low, high in zip([0, *ends[:-1]], ends, strict=True) if high > low]


def _dealt(requests: Requests, replicas: int) -> list[Sequence[int]]:
    """The same with each prompt to the part of the fewest responses, as cards are dealt.

    So every replica has its share of those that an earlier iteration has begun, which come first. None gets
    more than an equal part, rounded up; a prompt that no part has room for any more is broken.
    """
    most = ceil(len(requests) / replicas)
    shares: list[list[int]] = [[] for _ in range(replicas)]
    line = [(0, number) for number in range(replicas)]
    for group in _groups(requests):
        while group:
            count, number = heappop(line)
            shares[number] += group[: most - count]
            group = group[most - count :]
            heappush(line, (len(shares[number]), number))
    return [share for share in shares if share]


def _groups(requests: Requests) -> Iterator[list[int]]:
    """Numbers of the responses of each prompt."""
    starts = np.flatnonzero(np.diff(requests.group, prepend=-1)).tolist()
    for low, high in zip(starts, [*starts[1:], len(requests)], strict=True):
        yield list(range(low, high))


def _key(requests: Requests, share: Sequence[int]) -> bytes:
    """Equal for parts that take the same course."""
    part = requests.some(np.asarray(share))
    columns = (part.group - part.group[0], part.prompt, part.response, part.produced, part.waits)
    return b"".join(column.tobytes() for column in columns)


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


def _completions(requests: Requests, parts: Sequence[Part]) -> Floats:
    """When each prompt has the last of its responses, the first one first."""
    ends = np.zeros(int(requests.group[-1]) + 1)
    for part in parts:
        for time, index in part.replica.finished:
            group = requests.group[index]
            ends[group] = max(ends[group], time)
    return np.sort(ends[np.unique(requests.group)])


def _left(requests: Requests, parts: Sequence[Part]) -> Requests:
    """What the replicas have not finished, in the order in which it was asked for."""
    done = [index for part in parts for _, index in part.replica.finished]
    numbers = np.setdiff1d(np.arange(len(requests)), done)
    produced = requests.produced.copy()
    for part in parts:
        for index, tokens in part.replica.unfinished():
            produced[index] = tokens
    return replace(requests, produced=produced).some(numbers)
