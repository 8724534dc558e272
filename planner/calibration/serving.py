"""What a closed loop of clients measures of a serving engine: times to first token and per output token.

The benchmark of serving engines keeps ``concurrency`` requests under way: each client sends the next one
when it has its answer. All start at once, so that the first prompts queue; from then on each request meets
the prompts of the others as they come. The engine is vLLM's and TensorRT-LLM's: running sequences first,
then prompts in their order as far as the step's tokens and the cache reach (Kwon et al. 2309.06180, section
4.5); a sequence that the cache has no place for goes back to the queue and is computed again.
"""

from collections import deque
from dataclasses import dataclass, field

from planner.costs.serving.step_table import StepTable

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
    cache_tokens: int
    """That the engine has room for."""
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
    """Tokens that are not yet in the cache, and are not decoded one by one."""
    remaining: int
    """Tokens of the response after the next one."""
    cached: int = 0
    first: float | None = None


@dataclass(slots=True)
class _Loop:
    """Clock and queues of one run."""

    load: Load
    clock: float = 0.0
    started: int = 0
    context: int = 0
    """Of all running sequences together."""
    coming: deque[_Request] = field(default_factory=deque)
    """On their way to the engine, which composes its next step without them."""
    waiting: deque[_Request] = field(default_factory=deque)
    running: list[_Request] = field(default_factory=list)
    done: list[tuple[float, float]] = field(default_factory=list)

    def send(self) -> None:
        """One more request of some client, while there are any."""
        load = self.load
        if self.started < load.rounds * load.concurrency:
            self.started += 1
            self.coming.append(
                _Request(arrived=self.clock, left=load.prompt_tokens, remaining=load.response_tokens - 1)
            )

    def admit(self, count: int) -> None:
        """Requests reach the engine."""
        for _ in range(count):
            self.waiting.append(self.coming.popleft())

    def takes_prompts(self) -> bool:
        """Whether the next step has prompts in it: of a request that has begun, or that has its place."""
        if not self.waiting or len(self.running) >= self.load.slots:
            return False
        head = self.waiting[0]
        begun = head.cached > 0
        return begun or not self.running or self.context + head.left <= self.load.cache_tokens

    def decode(self, steps: int) -> None:
        """Further tokens of all running sequences."""
        for request in self.running:
            request.remaining -= steps
            request.cached += steps
        self.context += steps * len(self.running)

    def finish(self) -> None:
        """Take out the sequences whose last token is there."""
        over = [request for request in self.running if request.remaining <= 0]
        if over:
            self.running = [request for request in self.running if request.remaining > 0]
        for request in over:
            self.context -= request.cached
            first = self.clock if request.first is None else request.first
            per_token = (self.clock - first) / max(1, self.load.response_tokens - 1)
            self.done.append((first - request.arrived, per_token))
            self.send()

    def preempt(self) -> None:
        """Send the youngest sequences back while the next tokens have no place."""
        while len(self.running) > 1 and self.context + len(self.running) > self.load.cache_tokens:
            youngest = self.running.pop()
            self.context -= youngest.cached
            youngest.left, youngest.cached = youngest.cached, 0
            self.waiting.appendleft(youngest)


def closed_loop(table: StepTable, load: Load) -> Latencies:
    """Run all requests of every client through the engine, step by step where prompts come in."""
    loop = _Loop(load=load)
    for _ in range(load.concurrency):
        loop.send()
    loop.admit(load.concurrency)
    while loop.waiting or loop.running or loop.coming:
        late = len(loop.coming)
        loop.preempt()
        if loop.takes_prompts():
            _mixed_step(table, loop)
        elif loop.running:
            _decode_steps(table, loop, most=1 if late else None)
        loop.admit(late)
        loop.finish()
    first, output = zip(*loop.done, strict=True)
    return Latencies(first_token=sum(first) / len(first), output_token=sum(output) / len(output))


def _decode_steps(table: StepTable, loop: _Loop, *, most: int | None) -> None:
    """All steps until a sequence finishes or the cache is full."""
    count = len(loop.running)
    room = max(1, (loop.load.cache_tokens - loop.context) // count)
    steps = min(room, *(request.remaining for request in loop.running), most or room)
    loop.clock += steps * float(table.seconds(count, loop.context / count + (steps - 1) / 2))
    loop.decode(steps)


def _mixed_step(table: StepTable, loop: _Loop) -> None:
    """One step of all running sequences and as many prompt tokens as it has room for."""
    count = len(loop.running)
    taken, past = _take_prompts(table, loop, budget=max(1, int(loop.load.step_tokens) - count))
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
    loop.decode(1)
    while loop.waiting and loop.waiting[0].left == 0:
        request = loop.waiting.popleft()
        request.first = loop.clock if request.first is None else request.first
        request.cached += 1
        loop.context += request.cached
        loop.running.append(request)


def _take_prompts(table: StepTable, loop: _Loop, *, budget: int) -> tuple[list[int], float]:
    """(Tokens taken of each prompt in turn, sum of tokens times those of the same prompt before them)."""
    taken: list[int] = []
    past, held = 0.0, loop.context
    for request in loop.waiting:
        is_full = len(loop.running) + len(taken) >= loop.load.slots
        held += request.left + request.cached
        if taken and (is_full or held > loop.load.cache_tokens):
            break
        tokens = min(request.left, budget)
        if tokens < request.left and taken and not table.stack.chunked:
            break
        past += tokens * request.cached
        request.left -= tokens
        request.cached += tokens
        budget -= tokens
        taken.append(tokens)
        if budget <= 0:
            break
    return taken, past
