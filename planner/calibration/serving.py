"""What a closed loop of clients measures of a serving engine: times to first token and per output token.

The benchmark of serving engines keeps ``concurrency`` requests under way: each client sends the next one
when it has its answer. All start at once, so that the first prompts queue; from then on each request meets
the prompts of the others as they come.
"""

from collections import deque
from dataclasses import dataclass, field

from planner.costs.step_table import StepTable

ROUNDS = 10
"""Requests of each client, the first of which queue behind one another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One closed loop of equal requests."""

    concurrency: int
    prompt_tokens: int
    response_tokens: int
    slots: int
    """Requests that the engine runs at once; the rest wait."""
    step_tokens: float
    """Of one step, those of running sequences and of prompts together."""
    rounds: int = ROUNDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """Means over all requests, in seconds."""

    first_token: float
    output_token: float
    """Between the first token of a response and its last."""


@dataclass(slots=True)
class _Request:
    arrived: float
    left: int
    """Prompt tokens that are not yet prefilled."""
    first: float = 0.0
    finish: int = 0
    """The step that yields its last token."""


@dataclass(slots=True)
class _Loop:
    """Clock and queues of one run."""

    load: Load
    clock: float = 0.0
    step: int = 0
    started: int = 0
    context: float = 0.0
    """Of all running sequences together."""
    coming: deque[_Request] = field(default_factory=deque)
    """On their way to the engine, which composes its next step without them."""
    waiting: deque[_Request] = field(default_factory=deque)
    running: deque[_Request] = field(default_factory=deque)
    done: list[tuple[float, float]] = field(default_factory=list)

    def arrive(self) -> None:
        """One more request of some client, while there are any."""
        if self.started < self.load.rounds * self.load.concurrency:
            self.started += 1
            self.coming.append(_Request(arrived=self.clock, left=self.load.prompt_tokens))

    def admit(self, count: int) -> None:
        """Requests reach the engine."""
        for _ in range(count):
            self.waiting.append(self.coming.popleft())

    def finish(self) -> None:
        """Take out the sequences whose last token is there."""
        while self.running and self.running[0].finish <= self.step:
            request = self.running.popleft()
            per_token = (self.clock - request.first) / max(1, self.load.response_tokens - 1)
            self.done.append((request.first - request.arrived, per_token))
            self.context -= self.load.prompt_tokens + self.load.response_tokens
            self.arrive()


def closed_loop(table: StepTable, load: Load) -> Latencies:
    """Run all requests of every client through the engine, step by step where prompts come in."""
    loop = _Loop(load=load)
    for _ in range(load.concurrency):
        loop.arrive()
    loop.admit(load.concurrency)
    while loop.waiting or loop.running or loop.coming:
        late = len(loop.coming)
        if loop.waiting and len(loop.running) < load.slots:
            _mixed_step(table, loop)
        elif loop.running:
            _decode_steps(table, loop, 1 if late else None)
        loop.admit(late)
        loop.finish()
    first, output = zip(*loop.done, strict=True)
    return Latencies(first_token=sum(first) / len(first), output_token=sum(output) / len(output))


def _decode_steps(table: StepTable, loop: _Loop, most: int | None) -> None:
    """All steps until the next sequence finishes."""
    count, steps = len(loop.running), loop.running[0].finish - loop.step
    steps = min(steps, most or steps)
    context = loop.context / count + (steps - 1) / 2
    loop.clock += steps * float(table.seconds(count, context))
    loop.step += steps
    loop.context += steps * count


def _mixed_step(table: StepTable, loop: _Loop) -> None:
    """One step of all running sequences and as many prompt tokens as the budget leaves room for."""
    count = len(loop.running)
    budget = max(1, int(loop.load.step_tokens) - count)
    room, past = loop.load.slots - count, 0.0
    taken: list[int] = []
    for request in list(loop.waiting)[:room]:
        tokens = min(request.left, budget)
        if tokens < request.left and taken and not table.stack.chunked:
            break
        past += tokens * (loop.load.prompt_tokens - request.left)
        request.left -= tokens
        budget -= tokens
        taken.append(tokens)
        if budget <= 0:
            break
    total = sum(taken)
    loop.clock += float(
        table.seconds(
            count,
            loop.context / max(1, count),
            prompts=len(taken),
            prompt_tokens=total / len(taken),
            past_tokens=past / total,
        )
    )
    loop.step += 1
    loop.context += count
    _start(loop)


def _start(loop: _Loop) -> None:
    """Prompts that are through have their first token."""
    while loop.waiting and loop.waiting[0].left == 0:
        request = loop.waiting.popleft()
        request.first = loop.clock
        request.finish = loop.step + loop.load.response_tokens - 1
        loop.running.append(request)
        loop.context += loop.load.prompt_tokens + 1
