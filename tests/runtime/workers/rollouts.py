"""A generation engine without a model: each response has a length of its own and grows by a token a step."""

from dataclasses import replace

from planner.domain.lengths import TokenLengths
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.workload import Workload
from runtime.batch import Batch, Samples
from runtime.engines.requests import Response, Sampling
from runtime.sharing import Entry, share_out
from runtime.transfer import Ranks
from runtime.workers.call import Call
from runtime.workers.sampling import Sampler

LONGEST = 6


def tokens_of(seed):
    """All tokens of a sample: one that is begun again, or continued from elsewhere, has others."""
    return [10 + (seed + place) % 1000 for place in range(1 + seed % LONGEST)]


class FakeRollout:
    def __init__(self, requests):
        self._requests = requests
        self._done = [request.done for request in requests]

    def advance(self):
        """A token for each response that is not finished; those that are finished now."""
        finished = []
        for index, request in enumerate(self._requests):
            if not self._done[index].is_finished:
                whole = tokens_of(request.seed)
                tokens = [*self._done[index].tokens, whole[len(self._done[index].tokens)]]
                self._done[index] = Response(
                    tokens=tokens, logprobs=[-1.0] * len(tokens), is_finished=tokens == whole
                )
                finished += [index] * self._done[index].is_finished
        return finished

    def interrupt(self):
        return [replace(done) for done in self._done]


class FakeEngine:
    """The only rank of a replica."""

    shard = 0

    def __init__(self, replica, replicas):
        self.replica, self.generation = replica, GenerationStrategy(replicas=replicas, max_sequences=64)
        self.prompts = {}
        """Of the responses that were asked for, by seed."""

    def start(self, requests, sampling):
        self.prompts |= {request.seed: tuple(request.prompt) for request in requests}
        return FakeRollout(requests)


def sampler_of(engine, workload, *, limit):
    sampling = Sampling(temperature=1.0, maximum_response_tokens=LONGEST)
    each = workload.samples_per_prompt
    return Sampler(engine, sampling, seed=0, samples_per_prompt=each, carry_limit=limit)


def workload_of(prompts, samples_per_prompt):
    lengths = TokenLengths(mean=4, maximum=8)
    return Workload(
        prompts=prompts, samples_per_prompt=samples_per_prompt, prompt_tokens=lengths, response_tokens=lengths
    )


def calls_of(workload, iteration, *, replicas, extra):
    """The call of each replica and its fields, shared out as a run does it.

    Prompts are numbered over the iterations; the first one has those that stay under way as well.
    """
    each, first = workload.samples_per_prompt, iteration * workload.prompts + (extra if iteration else 0)
    extra = 0 if iteration else extra
    entry = Entry(
        name="actor.generate",
        method="generate",
        kind="generate",
        batch=Batch(Samples(range((workload.prompts + extra) * each), extra=extra * each), {}),
        inputs=(),
        samples=Samples(),
    )
    strategy = GenerationStrategy(replicas=replicas, max_sequences=64)
    shares = share_out(entry, Ranks(layout=ParallelStrategy(data=replicas), generate=strategy), workload)
    for rank in range(replicas):
        numbers = [first + row // each for row in shares.read[rank]]
        call = Call(
            name=entry.name, role="actor", method="generate", iteration=iteration, rows=shares.rows[rank]
        )
        yield call, {"prompts": [[number, 1] for number in numbers], "prompt_ids": numbers}
