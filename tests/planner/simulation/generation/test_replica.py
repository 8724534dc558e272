"""One replica: everything that is asked for comes out, and no step takes more than there is."""

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.costs.memory.generation_memory import BLOCK_TOKENS
from planner.costs.serving.generation import engine_of
from planner.costs.serving.step_table import step_table
from planner.domain.parallelism import GenerationStrategy
from planner.simulation.generation.clock import StepClock
from planner.simulation.generation.replica import FOREVER, Replica
from planner.simulation.generation.sequences import Limits, Sequence

some = settings(max_examples=150)


@pytest.fixture(scope="module")
def clocks(setting_of):
    """Of one stage and of two."""
    engine = engine_of(setting_of())
    layouts = (GenerationStrategy(pipeline=p, replicas=2, max_sequences=1) for p in (1, 2))
    return [StepClock(step_table(engine, layout)) for layout in layouts]


@dataclass(frozen=True)
class Asked:
    """One response; turns end after each of ``parts``, and ``waits`` follow all but the last."""

    group: int
    prompt: int
    parts: tuple[int, ...]
    waits: tuple[float, ...]
    produced: int = 0

    @property
    def tokens(self):
        return sum(self.parts)


parts = st.lists(st.integers(1, 300), min_size=1, max_size=4)
waits = st.lists(st.sampled_from([0.0, 0.01, 0.5, 30.0]), min_size=3, max_size=3)


@st.composite
def prompts(draw):
    """Responses of up to six prompts, some of them begun in an earlier iteration."""
    asked = []
    for group in range(draw(st.integers(1, 6))):
        prompt = draw(st.integers(1, 3000))
        for _ in range(draw(st.integers(1, 5))):
            turns = tuple(draw(parts))
            produced = draw(st.integers(0, turns[0] - 1)) if draw(st.booleans()) else 0
            asked.append(Asked(group, prompt, turns, tuple(draw(waits)[: len(turns) - 1]), produced))
    return asked


limits = st.builds(
    Limits,
    sequences=st.integers(1, 12),
    cache_tokens=st.one_of(st.none(), st.integers(50, 12_000)),
    step_tokens=st.sampled_from([64, 512, 8192]),
    chunked=st.booleans(),
)


def replica_of(clock, limits, asked, answer_tokens=0):
    replica = Replica(clock=clock, limits=limits, answer_tokens=answer_tokens)
    for index, one in enumerate(asked):
        stops = [sum(one.parts[: turn + 1]) for turn in range(len(one.parts))]
        replica.ask(
            Sequence(
                index=index,
                group=one.group,
                prompt=one.prompt,
                stops=stops[::-1],
                waits=list(one.waits[::-1]),
                produced=one.produced,
                own=one.produced,
            )
        )
    return replica


def check(replica):
    """Counts are those of the sequences themselves, and within the limits."""
    running = list(replica.running.values())
    followers = [one for group in replica.followers.values() for one in group]
    away = [one for _, _, one in replica.away if one.is_cached]
    inside = [*running, *followers, *replica.reading, *away]
    assert replica.taken_in == len(inside) <= replica.limits.sequences
    own = sum(one.own + BLOCK_TOKENS // 2 for one in inside)
    own += sum(replica.steps - one.start for one in running)
    shared = {one.group: one.prompt for one in inside}
    assert replica.held == own + sum(shared.values())
    assert replica.context == sum(one.prompt + one.own + replica.steps - one.start for one in running)
    assert {group: count for group, count in replica.sharers.items() if count} == {
        group: sum(one.group == group for one in inside) for group in shared
    }
    capacity = replica.limits.cache_tokens
    assert capacity is None or replica.held <= capacity or replica.taken_in == 1


def played(replica, until=FOREVER):
    """The replica after its last run; checked after each of them."""
    check(replica)
    for _ in range(100_000):
        if replica.is_done or not replica.advance(until):
            return replica
        check(replica)
    raise AssertionError("it never ends")


def tokens_out(replica):
    return sum(run.tokens for run in replica.runs)


@some
@given(prompts(), limits, st.sampled_from([0, 1]), st.sampled_from([0, 1, 200]))
def test_every_response_is_generated_once_and_nothing_stays(clocks, asked, limits, stages, answer_tokens):
    replica = played(replica_of(clocks[stages], limits, asked, answer_tokens))
    assert sorted(index for _, index in replica.finished) == list(range(len(asked)))
    assert tokens_out(replica) == sum(one.tokens - one.produced for one in asked)
    assert (replica.held, replica.context, replica.taken_in) == (0, 0, 0)
    assert not any(replica.sharers.values())
    assert not [*replica.followers, *replica.running, *replica.reading, *replica.away]
    assert replica.longest == max(one.tokens for one in asked)


@some
@given(prompts(), limits, st.sampled_from([0, 200]))
def test_runs_follow_each_other_and_ends_rise(clocks, asked, limits, answer_tokens):
    replica = played(replica_of(clocks[0], limits, asked, answer_tokens))
    ends = [time for time, _ in replica.finished]
    assert ends == sorted(ends)
    assert ends[-1] == replica.time
    for run in replica.runs:
        assert run.start_s < run.end_s
        assert run.tokens >= 0
    for before, after in zip(replica.runs, replica.runs[1:], strict=False):
        assert before.end_s <= after.start_s
    busy = sum(run.end_s - run.start_s for run in replica.runs)
    assert busy + replica.waited_s == pytest.approx(replica.time)


@some
@given(prompts(), limits, st.sampled_from([0, 200]), st.floats(0, 1.2))
def test_cut_at_any_moment_nothing_is_lost(clocks, asked, limits, answer_tokens, share):
    whole = played(replica_of(clocks[0], limits, asked, answer_tokens))
    until = share * whole.time
    replica = played(replica_of(clocks[0], limits, asked, answer_tokens), until)
    assert replica.time <= until or not replica.runs
    assert replica.finished == [item for item in whole.finished if item[0] <= until]
    unfinished = dict(replica.unfinished())
    assert sorted([*unfinished, *(index for _, index in replica.finished)]) == list(range(len(asked)))
    left = sum(asked[index].tokens - tokens for index, tokens in unfinished.items())
    assert tokens_out(replica) + left == sum(one.tokens - one.produced for one in asked)
    assert all(asked[index].produced <= tokens < asked[index].tokens for index, tokens in unfinished.items())


def some_prompts(count, *, samples=1, prompt=512, response=100):
    return [Asked(group, prompt, (response,), ()) for group in range(count) for _ in range(samples)]


def wide(**changes):
    return Limits(**{"sequences": 64, "cache_tokens": None, "step_tokens": 8192, "chunked": True, **changes})


def test_samples_of_a_prompt_read_it_once(clocks):
    replica = played(replica_of(clocks[0], wide(), some_prompts(3, samples=16)))
    assert replica.read_tokens == 3 * 512
    alone = played(replica_of(clocks[0], wide(), some_prompts(48)))
    assert alone.read_tokens == 48 * 512
    assert replica.time < alone.time


def test_samples_that_come_after_the_last_of_their_prompt_has_gone_read_it_again(clocks):
    one = played(replica_of(clocks[0], wide(sequences=1), some_prompts(1, samples=4)))
    assert one.read_tokens == 4 * 512
    two = played(replica_of(clocks[0], wide(sequences=2), some_prompts(1, samples=4)))
    assert two.read_tokens == 512


def test_an_engine_that_cuts_prompts_decodes_beside_them(clocks):
    asked = [Asked(0, 64, (400,), ()), Asked(1, 6000, (400,), ())]
    beside = played(replica_of(clocks[0], wide(step_tokens=1024), asked))
    assert [run.running for run in beside.runs if run.running == 1 and run.tokens == 1]
    assert all(run.tokens for run in beside.runs[1:])


def test_an_engine_that_does_not_cut_prompts_reads_whole_ones_in_steps_of_their_own(clocks):
    limits = wide(step_tokens=1024, chunked=False)
    replica = played(replica_of(clocks[0], limits, some_prompts(5, prompt=512)))
    reads = [run for run in replica.runs if not run.running]
    assert [run.tokens for run in reads] == [2, 2, 1]
    long = played(replica_of(clocks[0], limits, [Asked(0, 6000, (10,), ()), Asked(1, 64, (10,), ())]))
    assert [run.tokens for run in long.runs if not run.running] == [1, 1]


def test_the_youngest_goes_back_when_the_cache_is_full_and_is_read_again(clocks):
    """Two sequences begin, and only one of them has room for its end."""
    limits = wide(cache_tokens=1500)
    replica = played(replica_of(clocks[0], limits, some_prompts(2, prompt=500, response=600)))
    assert replica.preemptions == 1
    assert [index for _, index in replica.finished] == [0, 1]
    first = replica.finished[0][0]
    assert replica.read_tokens > 2 * 500 + 100
    assert all(run.running == 1 for run in replica.runs if run.start_s >= first and run.tokens > 1)


def test_a_sequence_longer_than_the_cache_runs_alone(clocks):
    replica = played(replica_of(clocks[0], wide(cache_tokens=100), some_prompts(3, prompt=200, response=500)))
    assert len(replica.finished) == 3
    assert max(run.running for run in replica.runs) == 1
    assert replica.preemptions == 0
    assert len(replica.runs) < 100


def test_waits_are_waited_and_counted(clocks):
    talk = [Asked(0, 100, (50, 50, 50), (2.0, 3.0))]
    replica = played(replica_of(clocks[0], wide(), talk, answer_tokens=40))
    mute = played(replica_of(clocks[0], wide(), [Asked(0, 100, (150,), ())]))
    assert replica.waited_s == pytest.approx(5.0)
    assert replica.time - mute.time == pytest.approx(5.0, abs=0.2)
    assert replica.read_tokens == 100 + 2 * 40


def test_others_decode_while_one_waits(clocks):
    both = [Asked(0, 100, (50, 50), (1.0,)), Asked(1, 100, (2000,), ())]
    replica = played(replica_of(clocks[0], wide(), both))
    assert replica.waited_s == 0
    alone = played(replica_of(clocks[0], wide(), both[1:]))
    assert replica.time == pytest.approx(alone.time, rel=0.05)


def test_one_that_waits_gives_its_cache_up_before_one_that_runs(clocks):
    asked = [Asked(0, 400, (10, 10), (60.0,)), Asked(1, 400, (1500,), ())]
    replica = played(replica_of(clocks[0], wide(cache_tokens=1500), asked, answer_tokens=7))
    assert replica.preemptions == 1
    assert [index for _, index in replica.finished] == [1, 0]
    assert replica.read_tokens == pytest.approx(800 + 410 + 7, abs=2)


def test_a_wait_keeps_its_place(clocks):
    asked = [Asked(0, 100, (10, 10), (30.0,)), Asked(1, 100, (10,), ())]
    replica = played(replica_of(clocks[0], wide(sequences=1), asked))
    assert [index for _, index in replica.finished] == [0, 1]
    assert replica.waited_s == pytest.approx(30.0)


def test_stages_are_filled_once_for_prompts_in_a_row(clocks):
    """Of an engine that reads eight prompts one by one before it decodes."""
    limits = wide(step_tokens=512, chunked=False)
    replica = played(replica_of(clocks[1], limits, some_prompts(8)))
    reads = [run.end_s - run.start_s for run in replica.runs if not run.running]
    assert reads[1:] == pytest.approx([reads[1]] * 7, rel=1e-6)
    step = clocks[1].table.stack.step
    assert reads[0] - step == pytest.approx(2 * (reads[1] - step))


def test_what_is_cut_off_while_it_waits_for_an_answer_has_waited(clocks):
    limits = Limits(sequences=8, cache_tokens=None, step_tokens=8192, chunked=True)
    replica = Replica(clock=clocks[0], limits=limits)
    replica.ask(Sequence(index=0, group=0, prompt=100, stops=[20, 10], waits=[1000.0]))
    while replica.advance(500.0):
        pass
    assert replica.time == 500.0
    assert 499.0 < replica.waited_s < 500.0
    assert replica.unfinished() == [(0, 10)]
