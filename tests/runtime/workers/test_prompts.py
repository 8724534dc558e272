import pytest
import torch

from planner.domain.lengths import TokenLengths
from planner.domain.parallelism import ParallelStrategy
from planner.errors import SpecError
from runtime.platform import enable
from tests.runtime.plans import quickstart_plan

enable()

from runtime.workers.call import Call  # noqa: E402
from runtime.workers.prompts import light_roles  # noqa: E402

ALL = ("actor", "critic", "reference", "reward")


def call(method, *, iteration=0, rows=10):
    return Call(name=method, role="prompts", method=method, iteration=iteration, rows=(range(rows),))


def plan(**workload):
    return quickstart_plan({ALL: ParallelStrategy(tensor=2)}, **workload)


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
