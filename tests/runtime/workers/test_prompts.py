import json

import pytest
import torch

from planner.domain.lengths import TokenLengths
from planner.domain.parallelism import ParallelStrategy
from planner.domain.run import RewardFunctionSettings
from planner.domain.scenario import Service
from planner.errors import SpecError
from runtime.platform import enable
from tests.runtime.plans import QUICKSTART, quickstart_plan

enable()

from runtime.workers.call import Call, Mean  # noqa: E402
from runtime.workers.prompts import light_roles  # noqa: E402

PROMPTS = QUICKSTART.parent / "quickstart" / "prompts.jsonl"
RULE = QUICKSTART.parent / "quickstart_reward.py"
ALL = ("actor", "critic", "reference", "reward")


def call(method, *, iteration=0, rows=10, **options):
    rows = range(rows) if isinstance(rows, int) else rows
    return Call(
        name=method, role="prompts", method=method, iteration=iteration, rows=(rows,), options=options
    )


def dealt(source, iteration=0, rows=10, **options):
    answer = source.prompts(call("prompts", iteration=iteration, rows=rows, **options), {})
    return answer.fields["prompts"], answer.fields["prompt_ids"].tolist()


def plan(run=None, **workload):
    made = quickstart_plan({ALL: ParallelStrategy(tensor=2)}, **workload)
    settings = made.scenario.run.model_copy(update=run or {})
    return made.model_copy(update={"scenario": made.scenario.model_copy(update={"run": settings})})


@pytest.fixture(scope="module")
def source():
    return light_roles(plan())["prompts"]


def test_each_iteration_has_prompts_of_its_own(source):
    batches = [source.prompts(call("prompts", iteration=number), {}).fields["prompts"] for number in (0, 1)]
    assert [len(batch) for batch in batches] == [10, 10]
    assert batches[0] != batches[1]


def test_shown_samples_are_the_first_prompts_of_the_first_iteration(source):
    first = source.prompts(call("prompts"), {}).fields["prompts"]
    assert source.prompts(call("prompts", iteration=-1, rows=4), {}).fields["prompts"] == first[:4]


def test_a_prompt_comes_once_for_each_of_its_samples():
    source = light_roles(plan(prompts=5, samples_per_prompt=2))["prompts"]
    prompts = source.prompts(call("prompts"), {}).fields["prompts"]
    assert len(prompts) == 10
    assert prompts[0::2] == prompts[1::2]


def test_texts_are_prompt_and_response_without_special_tokens(source):
    tokens = source.prompts(call("prompts"), {}).fields["prompts"][0]
    rows = torch.tensor([[*tokens, *tokens, 2, 0]])
    mask = torch.zeros_like(rows, dtype=torch.bool)
    mask[0, len(tokens) : 2 * len(tokens) + 1] = True
    ((prompt, response),) = source.texts(call("texts"), {"tokens": rows, "response_mask": mask}).fields[
        "texts"
    ]
    assert prompt == response
    assert "<" not in prompt
    assert prompt.endswith(("?", "."))


def test_prompts_that_are_too_long_are_refused_before_anything_is_trained():
    with pytest.raises(SpecError, match="tokens, at most 2 fit"):
        light_roles(plan(prompt_tokens=TokenLengths(mean=2, maximum=2)))


def test_prompts_carry_their_numbers_in_the_file(source):
    prompts, ids = dealt(source)
    texts = [json.loads(line)["prompt"][0]["content"] for line in PROMPTS.read_text().splitlines()]
    assert len(set(ids)) == 10
    for tokens, number in zip(prompts, ids, strict=True):
        mask = torch.tensor([[False] * len(tokens) + [True]])
        fields = {"tokens": torch.tensor([[*tokens, 2]]), "response_mask": mask}
        assert source.texts(call("texts"), fields).fields["texts"] == [(texts[number], "")]


def test_rounds_of_resampling_get_prompts_of_their_own():
    source = light_roles(plan(prompts=4, samples_per_prompt=2, resampling=1.5))["prompts"]
    candidates = dealt(source, rows=12)[1]
    assert len(set(candidates)) == 6
    assert dealt(source, rows=8)[1] == candidates[:8]
    further = dealt(source, rows=range(12, 24))[1]
    assert len(set(further)) == 6
    assert not {*further} & {*candidates, *dealt(source, iteration=1, rows=12)[1]}
    assert dealt(source, rows=24)[1] == candidates + further
    assert not {*candidates} & {*dealt(source, iteration=1, rows=12)[1]}


def test_rows_within_a_prompt_are_dealt_as_they_are_in_the_whole():
    source = light_roles(plan(prompts=5, samples_per_prompt=2))["prompts"]
    assert dealt(source, rows=range(3, 7))[1] == dealt(source)[1][3:7]


def test_greedy_responses_take_each_prompt_once():
    source = light_roles(plan(prompts=5, samples_per_prompt=2))["prompts"]
    assert dealt(source, rows=5, samples_per_prompt="1")[1] == dealt(source)[1][::2]


def test_dropped_prompts_are_never_dealt_and_the_others_keep_their_numbers(source):
    lengths = {
        number: len(tokens)
        for iteration in range(39)
        for tokens, number in zip(*dealt(source, iteration), strict=True)
    }
    limit = sorted(lengths.values())[200]
    short = light_roles(
        plan(run={"overlong_prompts": "drop"}, prompt_tokens=TokenLengths(mean=limit, maximum=limit))
    )["prompts"]
    kept = sorted(number for number, length in lengths.items() if length <= limit)
    assert 200 < len(kept) < 384
    assert len(lengths) == 384
    seen = {number for iteration in range(-(-len(kept) // 10)) for number in dealt(short, iteration)[1]}
    assert seen == {*kept}


def test_pretraining_data_is_dealt_like_prompts_as_much_as_an_iteration_has(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(f'{{"tokens": [{number}, 5, 6]}}\n' for number in range(3, 15)))
    made = plan(run={"pretraining": (str(path),)}, pretraining_tokens=40.0)
    count = made.scenario.workload.part("samples and pretraining").samples - 10
    source = light_roles(made)["prompts"]

    def texts(iteration):
        return source.pretraining(call("pretraining", iteration=iteration, rows=count), {}).fields[
            "pretraining"
        ]

    seen = [tokens[0] for iteration in range(12 // count) for tokens in texts(iteration)]
    assert count > 1
    assert len(seen) == len(set(seen))
    assert texts(0)[0][1:] == [5, 6, 2]
    assert texts(1) == texts(1) != texts(0)


def test_a_light_process_hosts_the_services_it_is_asked_for():
    made = plan(run={"reward_function": RewardFunctionSettings(path=str(RULE), weight=2.0)})
    scenario = made.scenario.model_copy(update={"services": {"reward": Service(seconds_per_sample="1 ms")}})
    made = made.model_copy(update={"scenario": scenario})
    roles = light_roles(made, ("reward", "prompts"))
    assert set(roles) == {"reward", "prompts"}
    prompts, ids = dealt(roles["prompts"], rows=1)
    answer = [*prompts[0], *prompts[0][2:-1], 2]
    fields = {
        "tokens": torch.tensor([answer]),
        "response_mask": torch.tensor([[False] * len(prompts[0]) + [True] * (len(prompts[0]) - 2)]),
        "prompt_ids": torch.tensor(ids),
    }
    scored = roles["reward"].scores(call("scores", rows=1), fields)
    assert scored.fields["scores"].tolist() == [1.0]
    assert scored.metrics == {
        "reward/friendly": Mean(0, 1),
        "reward/rude": Mean(0, 1),
        "reward/on_topic": Mean(1, 1),
    }
