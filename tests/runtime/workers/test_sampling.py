"""Prompts under way, as the sampler carries them over iterations and checkpoints."""

import json
import math
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import assume, given
from hypothesis import strategies as st

from runtime.transfer import split_rows
from tests.runtime.workers.rollouts import FakeEngine, calls_of, sampler_of, tokens_of, workload_of


class Replicas:
    """The samplers of all replicas, and what they have answered."""

    def __init__(self, workload, count, *, extra, limit, staleness=0):
        self.workload, self.extra, self.limit, self.staleness = workload, extra, limit, staleness
        self.taken = Counter()
        """Samples of each prompt."""
        self._begin(count)

    def iterate(self, iteration):
        """One iteration: as many samples as were asked for, each whole."""
        calls = calls_of(self.workload, iteration, replicas=len(self.engines), extra=self.extra)
        for engine, sampler, (call, fields) in zip(self.engines, self.samplers, calls, strict=True):
            answer = sampler.respond(call, fields, version=max(0, iteration - self.staleness))
            assert len(answer.lengths) == len(call.rows[0])
            assert answer.metrics["staleness/tokens/max"] <= self.limit + self.staleness
            whole = {(*prompt, *tokens_of(seed)) for seed, prompt in engine.prompts.items()}
            for row, length in zip(answer.fields["tokens"].tolist(), answer.lengths, strict=True):
                assert tuple(row[:length]) in whole
            self.taken.update(answer.fields["prompt_ids"].tolist())

    def resume(self, folder, count):
        """Go on with so many replicas from a checkpoint."""
        for sampler in self.samplers:
            sampler.save(folder)
        self._begin(count)
        for sampler in self.samplers:
            sampler.load(folder)

    def under_way(self, folder):
        """Numbers of the prompts that are left."""
        for sampler in self.samplers:
            sampler.save(folder)
        files = Path(folder).glob("*.json")
        return [one["prompt_id"] for file in files for one in json.loads(file.read_text())]

    def _begin(self, count):
        self.engines = [FakeEngine(replica, count) for replica in range(count)]
        self.samplers = [sampler_of(engine, self.workload, limit=self.limit) for engine in self.engines]


def is_run(prompts, extra, replicas):
    """Whether a run would carry so many prompts on so many replicas: those of one leave in one iteration."""
    pairs = zip(split_rows(prompts + extra, replicas), split_rows(prompts, replicas), strict=True)
    return all(len(first) <= 2 * len(each) for first, each in pairs)


@given(
    prompts=st.integers(1, 6),
    samples_per_prompt=st.integers(1, 3),
    share=st.floats(0.01, 1),
    limit=st.integers(1, 3),
    staleness=st.integers(0, 2),
    before=st.integers(1, 3),
    after=st.integers(1, 3),
    iterations=st.integers(1, 4),
)
def test_no_prompt_is_lost_and_none_is_taken_twice_also_when_another_number_of_replicas_goes_on(
    prompts, samples_per_prompt, share, limit, staleness, before, after, iterations
):
    extra = math.ceil(prompts * share)
    assume(is_run(prompts, extra, before) and is_run(prompts, extra, after))
    workload = workload_of(prompts, samples_per_prompt)
    replicas = Replicas(workload, before, extra=extra, limit=limit, staleness=staleness)
    with TemporaryDirectory() as saved, TemporaryDirectory() as left:
        for iteration in range(iterations):
            replicas.iterate(iteration)
        replicas.resume(saved, after)
        for iteration in range(iterations, 2 * iterations):
            replicas.iterate(iteration)
        under_way = replicas.under_way(left)
    assert set(replicas.taken.values()) == {samples_per_prompt}
    assert len(replicas.taken) == 2 * iterations * prompts
    assert len(under_way) == extra
    assert sorted([*replicas.taken, *under_way]) == list(range(2 * iterations * prompts + extra))


def test_what_an_iteration_does_not_wait_for_goes_on_from_the_tokens_that_it_has():
    replicas = Replicas(workload_of(4, 2), 1, extra=2, limit=1)
    with TemporaryDirectory() as folder:
        replicas.iterate(0)
        under_way = replicas.under_way(folder)
        replicas.iterate(1)
    assert len(under_way) == 2
    assert {replicas.taken[number] for number in under_way} == {2}
