"""Whole generations: against the closed form, against bounds, and against themselves on other terms."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.costs.serving.cache import cache_tokens_for
from planner.costs.serving.generation import engine_of, generation_seconds
from planner.costs.serving.step_table import step_table
from planner.domain.parallelism import GenerationStrategy
from planner.simulation.generation import generate, report
from planner.simulation.generation.requests import draw

some = settings(deadline=None, max_examples=25)
TAILED = {"mean": 700, "maximum": 8192, "sigma": 1.0}


def layout(**fields):
    return GenerationStrategy(**{"max_sequences": 64, "replicas": 4, **fields})


def played(setting, strategy, *, seed=0, **options):
    return generate(setting, strategy, draw(setting.workload, seed=seed), **options)


def told(setting, strategy, *, seed=0, **options):
    outcome = played(setting, strategy, seed=seed, **options)
    return report("actor.generate", outcome, setting, strategy)


def seconds(setting, strategy, **options):
    return played(setting, strategy, **options).end_s


GRID = [
    (model, engine, tensor, samples)
    for model, engine, tensor in (
        ("llama-2-7b", "vllm", 1),
        ("llama-2-7b", "vllm-0.3.1-spmd", 2),
        ("llama-2-70b", "vllm-0.3.1", 8),
        ("llama-2-70b", "trtllm", 4),
        ("qwen3-30b-a3b", "sglang", 2),
        ("deepseek-v3", "vllm", 8),
        ("opt-13b", "trtllm", 1),
        ("llama-2-7b", "nemo-aligner", 8),
        ("llama-2-13b", "deepspeed-chat", 4),
    )
    for samples in (1, 16)
]


@pytest.mark.parametrize(("model", "engine", "tensor", "samples"), GRID)
def test_of_one_length_it_is_the_closed_form(setting_of, model, engine, tensor, samples):
    """Where prompts fill their passes, which the closed form rounds up."""
    shapes = [(3, 512, 512), (64, 256, 1024), (96, 2048, 1024), (576, 512, 1024)]
    for prompts, prompt, response in shapes:
        lengths = {"prompt_tokens": prompt, "response_tokens": response}
        setting = setting_of(model, engine, prompts=prompts, samples_per_prompt=samples, **lengths)
        for replicas, slots in ((1, 256), (6, 64), (12, 1024)):
            strategy = layout(tensor=tensor, replicas=replicas, max_sequences=slots)
            expected = generation_seconds(setting, strategy)
            assert seconds(setting, strategy) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("tensor", [1, 2])
def test_waves_of_one_length_are_the_sum_of_their_steps(setting_of, tensor):
    """Which the closed form takes at the middle of each wave but the last: 1.5 % less for these."""
    lengths = {"prompt_tokens": 512, "response_tokens": 2048}
    setting = setting_of(engine="vllm-0.3.1-spmd", prompts=80, samples_per_prompt=16, **lengths)
    strategy = layout(tensor=tensor, replicas=1)
    table = step_table(engine_of(setting), strategy)
    steps = 20 * float(np.sum(table.seconds(64, 512 + np.arange(2048))))
    assert seconds(setting, strategy) == pytest.approx(steps, rel=2e-3)
    assert seconds(setting, strategy) == pytest.approx(generation_seconds(setting, strategy), rel=0.02)


@some
@given(
    st.sampled_from(["vllm", "trtllm", "vllm-0.3.1-spmd"]),
    st.sampled_from([2, 4]),
    st.integers(1, 300),
    st.sampled_from([1, 16]),
    st.sampled_from([1, 6]),
    st.integers(16, 512),
)
def test_with_stages_too_it_is_near_the_closed_form(
    setting_of, engine, pipeline, prompts, samples, replicas, slots
):
    """Which fills the stages once, and not again whenever an engine that cuts no prompts reads some."""
    setting = setting_of(engine=engine, prompts=prompts, samples_per_prompt=samples)
    strategy = layout(pipeline=pipeline, replicas=replicas, max_sequences=slots)
    expected = generation_seconds(setting, strategy)
    assert seconds(setting, strategy) == pytest.approx(expected, rel=0.05)


def test_stages_of_an_engine_that_cuts_no_prompts_fill_again_in_each_wave(setting_of):
    setting = setting_of(engine="vllm-0.3.1-spmd", prompts=256, prompt_tokens=1024, response_tokens=64)
    strategy = layout(pipeline=4, replicas=1, max_sequences=8)
    assert 1.03 < seconds(setting, strategy) / generation_seconds(setting, strategy) < 1.2


@some
@given(st.integers(0, 2**20), st.integers(1, 256), st.integers(1, 256), st.sampled_from([1, 4]))
def test_more_slots_hardly_lengthen_it(setting_of, seed, slots, more, samples):
    setting = setting_of(prompts=256 // samples, samples_per_prompt=samples, response_tokens=TAILED)
    few, many = (
        seconds(setting, layout(replicas=1, max_sequences=count), seed=seed)
        for count in (slots, slots + more)
    )
    assert many <= few * 1.03


def test_two_even_waves_are_quicker_than_a_large_and_a_small_one(setting_of):
    """Where the matrices compute a step grows with its sequences; where they only read their weights it does
    not, and a wave of seven takes as long as one of seventy. So more slots can lengthen it, by 6 % here."""
    setting = setting_of(engine="vllm-0.3.1", prompts=64, samples_per_prompt=4, response_tokens=1500)
    even, uneven = (
        seconds(setting, layout(pipeline=2, replicas=1, max_sequences=slots)) for slots in (185, 249)
    )
    table = step_table(engine_of(setting), layout(pipeline=2))
    steps = [float(table.seconds(batch, 1262)) for batch in (185, 71, 249, 7)]
    assert steps[0] + steps[1] < steps[2] + steps[3]
    assert 1.02 * even < uneven < 1.08 * even


@some
@given(st.integers(0, 2**20), st.integers(4, 64), st.floats(1.0, 3.0), st.sampled_from([1, 4]))
def test_more_cache_hardly_lengthens_it(setting_of, seed, held, factor, samples):
    setting = setting_of(prompts=128 // samples, samples_per_prompt=samples, response_tokens=TAILED)
    tokens = int(cache_tokens_for(setting.workload, held))
    less, more = (
        seconds(setting, layout(replicas=1, max_sequences=128, cache_tokens=count), seed=seed)
        for count in (tokens, int(tokens * factor))
    )
    assert more <= less * 1.05


def test_a_cache_that_holds_all_at_their_longest_is_no_limit(setting_of):
    setting = setting_of(response_tokens=TAILED)
    whole = layout(replicas=2)
    tokens = 2 * 64 * setting.workload.maximum_tokens
    paged = whole.model_copy(update={"cache_tokens": tokens})
    assert seconds(setting, paged) == pytest.approx(seconds(setting, whole), rel=1e-9)


def floor(setting, strategy, tokens):
    """Of a response alone: its fastest steps."""
    table = step_table(engine_of(setting), strategy)
    prompt = setting.workload.prompt_tokens.mean
    return float(np.sum(table.seconds(1, prompt + np.arange(tokens - 1))))


@pytest.mark.parametrize(
    "lengths", [TAILED, {"trace": [300] * 50 + [500] * 40 + [8000]}], ids=["lognormal", "trace"]
)
def test_the_longest_response_is_a_floor_that_more_replicas_do_not_lower(setting_of, lengths):
    setting = setting_of(prompts=512, response_tokens=lengths)
    tokens = int(draw(setting.workload, seed=0).response.max())
    found = {count: seconds(setting, layout(replicas=count)) for count in (4, 8, 256, 512, 1024)}
    assert found[8] < 0.98 * found[4]
    assert found[1024] == pytest.approx(found[512], rel=0.01)
    for count, end in found.items():
        assert end >= floor(setting, layout(replicas=count), tokens) * (1 - 1e-9)


@some
@given(
    seed=st.integers(0, 2**20),
    replicas=st.integers(1, 12),
    samples=st.sampled_from([1, 4, 16]),
    balance=st.sampled_from(["split", "queue"]),
    cache=st.sampled_from([None, 20_000]),
    turns=st.sampled_from([None, {"count": 3, "wait": "2 s", "tokens": 50}]),
)
def test_all_tokens_come_out_and_all_device_seconds_are_told(
    setting_of, seed, replicas, samples, balance, cache, turns
):
    work = {"prompts": 64 // samples, "samples_per_prompt": samples, "response_tokens": TAILED}
    setting = setting_of(turns=turns, **work)
    strategy = layout(tensor=2, replicas=replicas, max_sequences=24, cache_tokens=cache)
    requests = draw(setting.workload, seed=seed)
    outcome = generate(setting, strategy, requests, balance=balance)
    done = [index for part in outcome.parts for _, index in part.replica.finished]
    if balance == "queue" or len(done) == len(requests):
        assert sorted(done) == list(range(len(requests)))
    found = report("actor.generate", outcome, setting, strategy)
    assert found.response_tokens == requests.tokens
    assert found.responses == 64
    assert found.carried == 0
    assert found.longest_tokens == requests.response.max()
    assert list(found.tail.values()) == sorted(found.tail.values())
    assert found.tail["100"] == found.seconds
    busy = sum(part.times * (run.end_s - run.start_s) for part in outcome.parts for run in part.replica.runs)
    idle = sum(found.idle_device_seconds.values())
    assert 2 * busy + idle == pytest.approx(2 * replicas * found.seconds)
    assert min(found.idle_device_seconds.values()) >= -1e-6
    curve = sum(part.tokens_per_second * (part.end_s - part.start_s) for part in found.curve)
    assert curve == pytest.approx(found.response_tokens, rel=1e-6)
    for part in found.curve:
        assert 0 <= part.cache_share <= 1
        assert -1e-9 <= part.running <= replicas * 24 * (1 + 1e-9)


def test_replicas_with_the_same_to_do_are_played_once(setting_of):
    setting = setting_of(prompts=1000)
    outcome = played(setting, layout(replicas=64))
    assert sorted(part.times for part in outcome.parts) == [24, 40]
    assert sum(part.times * part.asked for part in outcome.parts) == 1000


def test_replicas_without_requests_wait_all_the_time(setting_of):
    found = told(setting_of(prompts=4), layout(tensor=2, replicas=16))
    assert found.idle_device_seconds["tail"] == pytest.approx(2 * 12 * found.seconds)


def test_a_correction_lengthens_everything_alike(setting_of):
    setting, strategy = setting_of(response_tokens=TAILED), layout()
    outcome = played(setting, strategy)
    plain, twice = (report("a", outcome, setting, strategy, factor=factor) for factor in (1.0, 2.0))
    assert twice.seconds == 2 * plain.seconds
    assert twice.tail == {share: 2 * end for share, end in plain.tail.items()}
    assert twice.idle_device_seconds["tail"] == pytest.approx(2 * plain.idle_device_seconds["tail"])
    assert twice.curve[-1].end_s == pytest.approx(2 * plain.curve[-1].end_s)
    assert twice.curve[3].tokens_per_second == pytest.approx(plain.curve[3].tokens_per_second / 2)
    assert twice.response_tokens == plain.response_tokens
    assert not report("a", outcome, setting, strategy, moments=0).curve


def test_it_takes_longer_by_the_waits_and_tells_of_them(setting_of):
    """Of one sequence on each replica, which has nothing else to do."""
    mute = told(setting_of(prompts=4), layout())
    setting = setting_of(prompts=4, turns={"count": 5, "wait": "10 s", "tokens": 20})
    talking, waits = told(setting, layout()), draw(setting.workload, seed=0).waits.sum(axis=1)
    assert talking.seconds - mute.seconds == pytest.approx(waits.max(), rel=0.02)
    assert talking.idle_device_seconds["tools"] == pytest.approx(waits.sum())
    assert mute.idle_device_seconds["tools"] == 0
    assert talking.read_tokens - mute.read_tokens == 4 * 4 * 20


def test_waits_of_many_sequences_overlap(setting_of):
    setting = setting_of(prompts=64, turns={"count": 5, "wait": "1 s"})
    whole = told(setting, layout(replicas=1))
    waits = draw(setting.workload, seed=0).waits.sum(axis=1)
    assert whole.idle_device_seconds["tools"] < 0.2 * waits.sum()
    assert whole.seconds < told(setting_of(), layout(replicas=1)).seconds + waits.max() + 2


def test_samples_of_a_prompt_read_it_once(setting_of):
    shared = told(setting_of(prompts=4, samples_per_prompt=16), layout())
    alone = told(setting_of(prompts=64), layout())
    assert (shared.read_tokens, alone.read_tokens) == (4 * 512, 64 * 512)
    assert shared.seconds < alone.seconds


@pytest.mark.parametrize("samples", [1, 4])
@pytest.mark.parametrize("replicas", [2, 8])
def test_a_queue_is_hardly_ever_worse_than_equal_parts(setting_of, samples, replicas):
    """It is where the longest response happens to begin later; on average it is not."""
    setting = setting_of(prompts=256 // samples, samples_per_prompt=samples, response_tokens=TAILED)
    strategy = layout(replicas=replicas, max_sequences=16)
    ratios = [
        seconds(setting, strategy, seed=seed, balance="queue") / seconds(setting, strategy, seed=seed)
        for seed in range(8)
    ]
    assert max(ratios) < 1.3
    assert np.mean(ratios) < 1.05


def test_a_queue_balances_a_heavy_tail(setting_of):
    setting = setting_of(prompts=1024, response_tokens={**TAILED, "mean": 500, "maximum": 4096})
    strategy = layout(replicas=16, max_sequences=4)
    split, queue = (
        np.mean([seconds(setting, strategy, seed=seed, balance=way) for seed in range(4)])
        for way in ("split", "queue")
    )
    assert queue < 0.93 * split


def test_no_prompt_is_given_away_before_its_time(setting_of):
    """A replica that is free early takes what one that is free late does not."""
    lengths = {"trace": [50] * 9 + [4000]}
    setting = setting_of(prompts=40, response_tokens=lengths)
    strategy = layout(replicas=2, max_sequences=1)
    outcome = played(setting, strategy, balance="queue")
    ends = [sum(run.end_s - run.start_s for run in part.replica.runs) for part in outcome.parts]
    longest = floor(setting, strategy, int(draw(setting.workload, seed=0).response.max()))
    assert max(ends) - min(ends) <= longest * 1.1


@some
@given(
    seed=st.integers(0, 2**20),
    enough=st.integers(1, 64),
    balance=st.sampled_from(["split", "queue"]),
    samples=st.sampled_from([1, 4]),
    turns=st.sampled_from([None, {"count": 3, "wait": "2 s", "tokens": 50}]),
    cache=st.sampled_from([None, 30_000]),
)
def test_when_enough_prompts_are_whole_the_rest_goes_on_later(
    setting_of, seed, enough, balance, samples, turns, cache
):
    prompts = 64 // samples
    enough = min(enough, prompts)
    work = {"prompts": prompts, "samples_per_prompt": samples, "response_tokens": TAILED}
    setting = setting_of(turns=turns, **work)
    strategy = layout(replicas=3, max_sequences=8, cache_tokens=cache)
    requests = draw(setting.workload, seed=seed)
    whole = generate(setting, strategy, requests, balance=balance)
    outcome = generate(setting, strategy, requests, balance=balance, enough=enough)
    found = report("a", outcome, setting, strategy)
    assert outcome.end_s <= whole.end_s
    whole_at = completions(requests, outcome)
    assert whole_at[enough - 1] == whole_at[-1] == found.seconds == outcome.end_s
    assert found.responses >= enough * samples
    assert outcome.left.prompts == prompts - len(whole_at)
    assert found.responses + len(outcome.left) == 64
    assert found.response_tokens + outcome.left.tokens == requests.tokens
    assert (outcome.left.produced < outcome.left.response).all()
    assert found.carried == len(outcome.left)
    if len(outcome.left):
        rest = report("a", generate(setting, strategy, outcome.left, balance=balance), setting, strategy)
        assert rest.response_tokens == outcome.left.tokens
        assert rest.responses == len(outcome.left)


def completions(requests, outcome):
    """When each prompt that has all its responses had them, in order."""
    ends = {}
    for time, index in (one for part in outcome.parts for one in part.replica.finished):
        ends.setdefault(int(requests.group[index]), []).append(time)
    asked = np.bincount(requests.group)
    return sorted(max(times) for group, times in ends.items() if len(times) == asked[group])


@some
@given(
    seed=st.integers(0, 2**20),
    balance=st.sampled_from(["split", "queue"]),
    replicas=st.integers(1, 6),
    samples=st.sampled_from([1, 4, 16]),
)
def test_a_prompt_that_goes_on_is_whole_when_its_last_responses_are(
    setting_of, seed, balance, replicas, samples
):
    """What was done before the cut is not generated again."""
    work = {"prompts": 64 // samples, "samples_per_prompt": samples, "response_tokens": TAILED}
    setting = setting_of(**work)
    strategy = layout(replicas=replicas, max_sequences=24)
    requests = draw(setting.workload, seed=seed)
    first = generate(setting, strategy, requests, balance=balance, enough=32 // samples)
    done = {index for part in first.parts for _, index in part.replica.finished}
    left = [index for index in range(64) if index not in done]
    assert first.left.response.tolist() == requests.response[left].tolist()
    second = generate(setting, strategy, first.left, balance=balance, enough=1)
    assert second.end_s == completions(first.left, second)[0]


def receivers(requests, outcome):
    """The part that has each response, where all are done."""
    found = np.full(len(requests), -1)
    for number, part in enumerate(outcome.parts):
        found[[index for _, index in part.replica.finished]] = number
    return found


@some
@given(seed=st.integers(0, 2**20), replicas=st.integers(2, 6), samples=st.sampled_from([1, 4, 16]))
def test_what_goes_on_is_dealt_to_all_replicas_with_its_prompt_together(setting_of, seed, replicas, samples):
    work = {"prompts": 192 // samples, "samples_per_prompt": samples, "response_tokens": TAILED}
    setting, strategy = setting_of(**work), layout(replicas=replicas)
    requests = draw(setting.workload, seed=seed)
    left = generate(setting, strategy, requests, enough=144 // samples).left
    both = left.before(draw(setting.workload, seed=seed, iteration=1))
    outcome = generate(setting, strategy, both)
    of = receivers(both, outcome)
    loads = [part.asked for part in outcome.parts]
    assert max(loads) == -(-len(both) // replicas)
    carried = np.bincount(of[: len(left)], minlength=replicas)
    assert carried.max() - carried.min() <= samples
    prompts = [set(of[: len(left)][left.group == group].tolist()) for group in np.unique(left.group)]
    assert all(len(parts) == 1 for parts in prompts)


def test_one_sample_a_prompt_that_goes_on_is_dealt_in_turn(setting_of):
    setting, strategy = setting_of(prompts=30, response_tokens=TAILED), layout(replicas=4)
    left = played(setting, strategy, enough=20).left
    outcome = generate(setting, strategy, left.before(draw(setting.workload, seed=1)))
    assert [part.asked for part in outcome.parts] == [10, 10, 10, 10]
    of = receivers(left.before(draw(setting.workload, seed=1)), outcome)
    assert of.tolist() == [number % 4 for number in range(40)]


def test_what_goes_on_reads_what_it_had_with_its_answers(setting_of):
    """Cut off after the first of two turns."""
    setting = setting_of(prompts=2, response_tokens=200, turns={"count": 2, "wait": "1 s", "tokens": 30})
    strategy = layout(replicas=2, max_sequences=1)
    outcome = played(setting, strategy, enough=1)
    (produced,) = outcome.left.produced.tolist()
    assert 100 <= produced < 200
    rest = report("a", generate(setting, strategy, outcome.left), setting, strategy)
    assert rest.read_tokens == 512 + produced + 30
    assert rest.idle_device_seconds["tools"] == 0


CODE = """
import sys
from pathlib import Path
import planner
from planner.costs.setting import Setting
from planner.domain.parallelism import GenerationStrategy
from planner.domain.workload import Workload
from planner.domain.cluster import NodePool
from planner.domain.stack import Stack
from planner.domain.catalog import read_device, read_generation_stack, read_model, read_training_stack
from planner.simulation.generation import generate, report
from planner.simulation.generation.requests import draw
work = {"prompts": 64, "samples_per_prompt": 4, "prompt_tokens": {"mean": 300, "maximum": 900},
        "response_tokens": {"mean": 700, "maximum": 8192, "sigma": 1.0},
        "turns": {"count": 3, "wait": "2 s", "tokens": 20}}
network = {"bandwidth": "400 Gbit/s", "latency": "10 us"}
pool = NodePool.model_validate({"name": "pool", "nodes": 2, "devices_per_node": 8, "network": network,
                                "device": read_device("h100-sxm-80gb")})
stack = Stack(training=read_training_stack("megatron-core"), generation=read_generation_stack("vllm"))
setting = Setting(model=read_model("llama-2-7b"), head="vocabulary", precision="bf16",
                  workload=Workload.model_validate(work), node_pool=pool, stack=stack)
strategy = GenerationStrategy(replicas=4, max_sequences=24, cache_tokens=40000)
for balance in ("split", "queue"):
    outcome = generate(setting, strategy, draw(setting.workload, seed=5), balance=balance, enough=50)
    print(report("a", outcome, setting, strategy).model_dump_json())
"""


def test_the_same_seed_says_the_same_in_every_process():
    root = Path(__file__).parents[4]
    said = {
        subprocess.run(
            [sys.executable, "-c", CODE],
            cwd=root,
            env={"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1", "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
    assert len(said.pop()) > 1000


def test_another_seed_says_something_else(setting_of):
    setting = setting_of(response_tokens=TAILED)
    first, again, other = (told(setting, layout(), seed=seed) for seed in (1, 1, 2))
    assert first.model_dump_json() == again.model_dump_json()
    assert first.seconds != other.seconds


@pytest.mark.parametrize(
    ("lengths", "replicas", "slots"),
    [
        ({"mean": 1500, "maximum": 8192}, 32, 64),
        ({"mean": 3000, "maximum": 4096}, 32, 64),
        ({"mean": 3000, "maximum": 4096}, 32, 16),
        ({"mean": 1500, "maximum": 8192, "sigma": 1.0}, 32, 64),
        ({"mean": 1500, "maximum": 8192}, 8, 32),
    ],
)
def test_of_varied_lengths_the_closed_form_is_near_the_mean_of_many_draws(
    setting_of, lengths, replicas, slots
):
    setting = setting_of(prompts=64 * replicas, response_tokens=lengths)
    strategy = layout(replicas=replicas, max_sequences=slots)
    mean = np.mean([seconds(setting, strategy, seed=seed) for seed in range(3)])
    assert generation_seconds(setting, strategy) == pytest.approx(mean, rel=0.07)


@pytest.mark.parametrize("lengths", [1000, {"mean": 1000, "maximum": 8192}], ids=["equal", "varied"])
@pytest.mark.parametrize(
    ("count", "wait"), [(2, "10 s"), (5, "10 s"), (5, "60 s"), (10, "60 s"), (20, "30 s"), (5, "0 s")]
)
@pytest.mark.parametrize(("replicas", "sequences", "slots"), [(8, 64, 64), (8, 128, 64)])
def test_with_turns_the_closed_form_is_near_the_mean_of_many_draws(
    setting_of, lengths, count, wait, replicas, sequences, slots
):
    """In one wave and in two: the last response waits for the longest of many waits."""
    turns = {"count": count, "wait": wait, "tokens": 20}
    prompts = replicas * sequences
    setting = setting_of("qwen2.5-7b", prompts=prompts, response_tokens=lengths, turns=turns)
    strategy = layout(replicas=replicas, max_sequences=slots)
    mean = np.mean([seconds(setting, strategy, seed=seed) for seed in range(4)])
    assert generation_seconds(setting, strategy) == pytest.approx(mean, rel=0.12)


@pytest.mark.parametrize("responses", [200, {"mean": 200, "maximum": 1000}], ids=["equal", "varied"])
@pytest.mark.parametrize(("replicas", "sequences", "slots"), [(1, 256, 64), (8, 64, 64), (16, 128, 32)])
def test_with_prompts_of_varied_length_it_is_near_the_mean_of_many_draws(
    setting_of, responses, replicas, sequences, slots
):
    """Attention grows with the mean square of the prompts, and one of several replicas has the longest."""
    prompts = {"mean": 8000, "maximum": 30_000}
    setting = setting_of(
        "qwen2.5-7b",
        prompts=replicas * sequences,
        prompt_tokens=prompts,
        response_tokens=responses,
    )
    strategy = layout(replicas=replicas, max_sequences=slots)
    mean = np.mean([seconds(setting, strategy, seed=seed) for seed in range(8)])
    assert generation_seconds(setting, strategy) == pytest.approx(mean, rel=0.05)


def test_reading_prompts_of_varied_length_takes_the_seconds_of_each(setting_of):
    """Of one replica and one token each, so that nothing else counts."""
    varied = {"prompts": 512, "response_tokens": 1}
    setting = setting_of(prompt_tokens={"mean": 8000, "maximum": 30_000}, **varied)
    strategy = layout(replicas=1, max_sequences=512)
    mean = np.mean([seconds(setting, strategy, seed=seed) for seed in range(8)])
    assert generation_seconds(setting, strategy) == pytest.approx(mean, rel=0.02)
    equal = generation_seconds(setting_of(prompt_tokens=8000, **varied), strategy)
    assert generation_seconds(setting, strategy) > 1.03 * equal
