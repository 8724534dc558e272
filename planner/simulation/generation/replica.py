"""One engine replica, step by step: continuous batching under a limit of sequences and of cached tokens.

Each step feeds one token of every running sequence, and as many tokens of waiting prompts as its budget has
room for (chunked prefill, Agrawal et al. 2308.16369, section 4; Orca, OSDI'22, section 4.1). An engine that
does not cut prompts reads whole ones in steps of their own, before it decodes on. Where the cache is paged, a
sequence is taken in when its prompt has room; if the cache is full, the youngest is sent back and computed
again (Kwon et al. 2309.06180, section 4.5). Samples of one prompt share its blocks, and all but the first
skip its prefill (section 4.4).

Steps between two events (a sequence ends or waits, a prompt comes in, the cache is full) are one run, whose
seconds are exact: a step's are linear in the context between the points of its table.
"""

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import ceil

from planner.costs.memory.generation_memory import BLOCK_TOKENS
from planner.simulation.generation.clock import StepClock
from planner.simulation.generation.sequences import Limits, Run, Sequence

WATERMARK = 0.01
"""Of the cache, what stays free when a sequence is taken in (vLLM 0.3.1, core/block_manager.py)."""
FOREVER = float("inf")


@dataclass(slots=True, eq=False)
class Replica:
    """Clock, queues and cache of one engine.

    A sequence waits, is taken in and reads (or follows another one that reads the same prompt), runs, and
    is done; between turns it is away and keeps its place.
    """

    clock: StepClock
    limits: Limits
    answer_tokens: int = 0
    time: float = 0.0
    steps: int = 0
    context: int = 0
    """Cached tokens behind all running sequences, shared ones counted for each."""
    held: int = 0
    """Tokens in the cache, shared ones once, and half a block more for each sequence."""
    waiting: deque[Sequence] = field(default_factory=deque)
    reading: deque[Sequence] = field(default_factory=deque)
    followers: dict[int, list[Sequence]] = field(default_factory=dict)
    """By prompt, those that begin when it has been read; empty once it has."""
    running: dict[int, Sequence] = field(default_factory=dict)
    """By place."""
    ends: list[tuple[int, int]] = field(default_factory=list)
    """(Count of steps at which it stops, place) of each running sequence, and of some that were sent back."""
    away: list[tuple[float, int, Sequence]] = field(default_factory=list)
    """By when their answer comes."""
    sharers: dict[int, int] = field(default_factory=dict)
    """Sequences of each prompt that hold its blocks."""
    finished: list[tuple[float, int]] = field(default_factory=list)
    """When each response was done, and its index."""
    runs: list[Run] = field(default_factory=list)
    longest: int = 0
    """Tokens of the longest response that is done."""
    preemptions: int = 0
    read_tokens: int = 0
    """Of prompts and answers, and of what was sent back."""
    waited_s: float = 0.0
    """In which it had nothing to do but wait for answers."""
    taken_in: int = 0
    """Sequences that hold a place in the cache."""
    places: int = 0
    is_filled: bool = False
    """Whether the pass before this one was one of prompts alone, so that all stages have work."""
    is_full: bool = False
    """Whether some were sent back before this step, which takes none in then."""

    @property
    def is_done(self) -> bool:
        return not (self.waiting or self.taken_in or self.away)

    @property
    def is_blocked(self) -> bool:
        """Whether something waits that there is no room for."""
        return bool(self.waiting) and not self._has_room(self.waiting[0])

    @property
    def load(self) -> int:
        """Sequences that it has to do with."""
        return len(self.waiting) + self.taken_in

    def ask(self, sequence: Sequence) -> None:
        """One more response to generate; what it has already is read like a prompt."""
        self.waiting.append(sequence)

    def advance(self, until: float = FOREVER) -> bool:
        """The next run of steps, or wait for an answer; False if it does not end before ``until``."""
        self._take_back()
        self._preempt()
        self._take_sharers()
        if self.reading or (self.waiting and self._has_room(self.waiting[0])):
            return self._read(until)
        if self.running:
            return self._decode(until)
        back = min(self.away[0][0], until)
        self.waited_s += back - self.time
        self.time = back
        return self.away[0][0] <= until

    def unfinished(self) -> list[tuple[int, int]]:
        """(Index, tokens produced) of what is not done."""
        running = [(one.index, one.produced + self.steps - one.start) for one in self.running.values()]
        others = [*self.waiting, *self.reading, *(item[2] for item in self.away)]
        others += [one for followers in self.followers.values() for one in followers]
        return sorted([*running, *((one.index, one.produced) for one in others)])

    def _take_back(self) -> None:
        """Sequences whose answer has come read it before new prompts."""
        while self.away and self.away[0][0] <= self.time:
            _, _, sequence = heappop(self.away)
            sequence.own += self.answer_tokens
            if not sequence.is_cached:
                sequence.is_cached = True
                self.waiting.appendleft(sequence)
                continue
            sequence.left = self.answer_tokens
            self.held += self.answer_tokens
            if sequence.left:
                self.reading.append(sequence)
            else:
                self._run(sequence)

    def _take_sharers(self) -> None:
        """Responses to a prompt that lies in the cache, or is being read, need to read nothing of it."""
        while self.waiting and self.sharers.get(self.waiting[0].group) and self._has_room(self.waiting[0]):
            sequence = self.waiting.popleft()
            self._take_in(sequence)
            if sequence.left:
                self.reading.append(sequence)
            elif sequence.group in self.followers:
                self.followers[sequence.group].append(sequence)
            else:
                self._run(sequence)

    def _has_room(self, sequence: Sequence) -> bool:
        """Whether the sequence may be taken in beside the next tokens of all; alone it always may."""
        if self.taken_in >= self.limits.sequences or self.is_full:
            return False
        capacity = self.limits.cache_tokens
        if capacity is None or not self.taken_in:
            return True
        free = max(WATERMARK * capacity, len(self.running) + 1)
        return self.held + self._needs(sequence) + free <= capacity

    def _needs(self, sequence: Sequence) -> int:
        """Tokens of the cache that it takes when it is taken in."""
        prompt = 0 if self.sharers.get(sequence.group) else sequence.prompt
        return prompt + sequence.own + BLOCK_TOKENS // 2

    def _take_in(self, sequence: Sequence) -> None:
        """Give it its place in the cache; what is not there yet is left to read."""
        self.held += self._needs(sequence)
        first = not self.sharers.get(sequence.group)
        sequence.left = sequence.own + (sequence.prompt if first else 0)
        if first:
            self.followers[sequence.group] = []
        self.sharers[sequence.group] = self.sharers.get(sequence.group, 0) + 1
        self.taken_in += 1

    def _let_go(self, sequence: Sequence) -> None:
        """Take its place in the cache away."""
        self.taken_in -= 1
        self.sharers[sequence.group] -= 1
        self.held -= self._needs(sequence)

    def _run(self, sequence: Sequence) -> None:
        """Decode from the next step on."""
        self.places += 1
        sequence.place, sequence.start = self.places, self.steps
        self.running[sequence.place] = sequence
        self.context += sequence.prompt + sequence.own
        heappush(self.ends, (self.steps + sequence.stops[-1] - sequence.produced, sequence.place))

    def _stop(self, sequence: Sequence) -> None:
        """Decode no further for now."""
        del self.running[sequence.place]
        tokens = self.steps - sequence.start
        self.context -= sequence.prompt + sequence.own + tokens
        sequence.own += tokens
        sequence.produced += tokens

    @property
    def _decoding_beside(self) -> int:
        """Sequences that decode in a step with prompts; they change when a sharer is taken in."""
        return len(self.running) if self.limits.chunked else 0

    def _read(self, until: float) -> bool:
        """One step with prompts in it."""
        taken = self._chunks(max(1, self.limits.step_tokens - self._decoding_beside))
        batch = self._decoding_beside
        total, chunks = sum(size for _, size in taken), len(taken)
        past = sum(size * (one.prompt + one.own - one.left) for one, size in taken) / total
        seconds = self._read_seconds(batch, chunks, total / chunks, past)
        if self.time + seconds > until:
            return False
        start, self.time = self.time, self.time + seconds
        self.read_tokens += total
        before = self.held
        self._step(1 if batch else 0)
        done = [one for one, size in taken if self._reads_to_the_end(one, size)]
        self.runs.append(Run(start, self.time, batch + len(done), batch, before, self.held))
        for sequence in done:
            self.reading.remove(sequence)
            sequence.produced += 1
            self._go_on(sequence)
            for follower in self.followers.pop(sequence.group, ()):
                self._run(follower)
        self._end()
        return True

    def _reads_to_the_end(self, sequence: Sequence, size: int) -> bool:
        sequence.left -= size
        return sequence.left == 0

    def _chunks(self, budget: int) -> list[tuple[Sequence, int]]:
        """Sequences that read in the next step, with their tokens of it; as many as there is room for."""
        taken: list[tuple[Sequence, int]] = []
        for sequence in self.reading:
            if budget <= 0 or (taken and not self.limits.chunked and sequence.left > budget):
                return taken
            size = min(sequence.left, budget) if self.limits.chunked else sequence.left
            taken.append((sequence, size))
            budget -= size
        while budget > 0 and self.waiting and self._has_room(self.waiting[0]):
            head = self.waiting[0]
            whole = head.prompt + head.own
            if taken and not self.limits.chunked and whole > budget:
                break
            self.waiting.popleft()
            self._take_in(head)
            size = min(head.left, budget) if self.limits.chunked else head.left
            self.reading.append(head)
            taken.append((head, size))
            budget -= size
            self._take_sharers()
        return taken

    def _read_seconds(self, batch: int, chunks: int, tokens: float, past: float) -> float:
        """Of a step with prompts in it; the first of several without running sequences fills the stages."""
        clock = self.clock
        if batch:
            self.is_filled = False
            return clock.mixed(batch, self.context / batch, prompts=chunks, tokens=tokens, past=past)
        one = clock.prefill(prompts=chunks, tokens=tokens, past=past)
        fill = 0.0 if self.is_filled else (clock.pipeline - 1) * one
        self.is_filled = True
        return one + fill + clock.table.stack.step

    def _decode(self, until: float) -> bool:
        """All steps until a sequence stops, the cache is full, or an answer comes."""
        batch, context = len(self.running), self.context / len(self.running)
        whole = self._steps_to_event(batch, context)
        if self.away:
            whole = max(1, self._steps_before(self.away[0][0], whole, batch, context))
        steps = self._steps_before(until, whole, batch, context)
        if steps:
            start, before = self.time, self.held
            self.time = start + self.clock.decode_run(batch, context, steps)
            self.is_filled = False
            self._step(steps)
            self.runs.append(Run(start, self.time, steps * batch, batch, before, self.held))
            self._end()
        return steps == whole

    def _steps_to_event(self, batch: int, context: float) -> int:
        """At most so many are alike: until a sequence stops, the cache is full, or the table has a kink."""
        while self.ends[0][1] not in self.running:
            heappop(self.ends)
        steps = self.ends[0][0] - self.steps
        capacity = self.limits.cache_tokens
        if capacity is not None and self.taken_in > 1:
            steps = min(steps, max(1, (capacity - self.held) // batch))
        kink = self.clock.next_kink(context) - context
        return min(steps, max(1, ceil(kink))) if kink < steps else steps

    def _steps_before(self, deadline: float, most: int, batch: int, context: float) -> int:
        """How many of these steps end by then; by bisection."""
        if deadline == FOREVER or self.time + self.clock.decode_run(batch, context, most) <= deadline:
            return most
        low, high = 0, most - 1
        while low < high:
            middle = (low + high + 1) // 2
            end = self.time + self.clock.decode_run(batch, context, middle)
            low, high = (middle, high) if end <= deadline else (low, middle - 1)
        return low

    def _step(self, steps: int) -> None:
        batch = len(self.running)
        self.steps += steps
        self.context += steps * batch
        self.held += steps * batch

    def _end(self) -> None:
        """Sequences that have come to the end of a turn, or of the response."""
        while self.ends and self.ends[0][0] <= self.steps:
            _, place = heappop(self.ends)
            sequence = self.running.get(place)
            if sequence is not None:
                self._stop(sequence)
                self._go_on(sequence)

    def _go_on(self, sequence: Sequence) -> None:
        """Decode on, wait for an answer, or be done."""
        if sequence.produced < sequence.stops[-1]:
            self._run(sequence)
            return
        sequence.stops.pop()
        if sequence.stops:
            self.places += 1
            heappush(self.away, (self.time + sequence.waits.pop(), self.places, sequence))
            return
        self._let_go(sequence)
        self.longest = max(self.longest, sequence.produced)
        self.finished.append((self.time, sequence.index))

    def _preempt(self) -> None:
        """Send sequences back while the next tokens have no place."""
        capacity, before = self.limits.cache_tokens, self.preemptions
        if capacity is not None:
            while self.held + len(self.running) > capacity and self.taken_in > 1:
                self._evict()
                self.preemptions += 1
        self.is_full = self.preemptions > before

    def _evict(self) -> None:
        """Take the cache from the sequence away whose answer comes last, or else from the youngest."""
        cached = [item for item in self.away if item[2].is_cached]
        if cached:
            last = max(cached)[2]
            last.is_cached = False
            self._let_go(last)
            return
        youngest = self._youngest()
        self._let_go(youngest)
        self.waiting.appendleft(youngest)

    def _youngest(self) -> Sequence:
        """The last one that was taken in, stopped; followers go before the one that reads for them."""
        if not self.reading:
            youngest = next(reversed(self.running.values()))
            self._stop(youngest)
            return youngest
        group = self.reading[-1].group
        if self.followers.get(group):
            return self.followers[group].pop()
        youngest = self.reading.pop()
        if all(one.group != group for one in self.reading):
            self.followers.pop(group, None)
        return youngest
