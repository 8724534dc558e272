"""Prompt files, their mistakes, and the order in which prompts are dealt out."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from planner.errors import SpecError
from runtime.data import Message, Prompt, PromptLoader, RewardSource, encode_prompts, read_prompts

VOCABULARY = ("<unk>", "<user>", "<assistant>", "how", "was", "the", "soup", "?")
TEMPLATE = "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }} {% endfor %}<assistant>"


def prompt(text: str) -> Prompt:
    return Prompt(messages=(Message(role="user", content=text),))


def written(folder: Path, *lines: str) -> Path:
    path = folder / "prompts.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def tokenizer():
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(VOCABULARY)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>")


def test_a_line_in_the_columns_of_verl_is_read_whole(tmp_path):
    line = {
        "data_source": "openai/gsm8k",
        "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "2"},
        "extra_info": {"split": "train", "index": 7},
        "a column of somebody else": None,
    }
    assert read_prompts(written(tmp_path, json.dumps(line))) == [
        Prompt(
            messages=(Message(role="system", content="Be brief."), Message(role="user", content="1 + 1?")),
            data_source="openai/gsm8k",
            ability="math",
            reward_model=RewardSource(style="rule", ground_truth="2"),
            extra_info={"split": "train", "index": 7},
        )
    ]


def test_a_string_is_short_for_one_message_of_the_user(tmp_path):
    path = written(tmp_path, '{"prompt": "how was\u2028the soup?"}', "", "  ")
    assert read_prompts(path) == [prompt("how was\u2028the soup?")]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{}", "prompt: is missing"),
        ('{"prompt": 3}', "prompt: expected a text, or a list of messages with role and content"),
        ('{"prompt": []}', "prompt: expected a text, or a list of messages with role and content"),
        ('{"prompt": [{"role": "user"}]}', "prompt.0.content: is missing"),
        ('{"prompt": [{"role": "user", "content": null}]}', "prompt.0.content: expected a valid string"),
        ('{"prompt": "a", "data_source": 3}', "data_source: expected a valid string"),
        ('{"prompt": "a", "reward_model": {}}', "reward_model.style: is missing"),
        ('"how was the soup?"', "expected an object"),
        ('{"prompt": ', "Invalid JSON: EOF while parsing a value at column 11"),
    ],
)
def test_a_mistake_names_file_line_and_column_and_what_was_expected(tmp_path, line, complaint):
    path = written(tmp_path, '{"prompt": "fine"}', line)
    with pytest.raises(SpecError) as caught:
        read_prompts(path)
    assert str(caught.value) == f"{path}:2: {complaint}"


def test_all_mistakes_are_reported_at_once_but_a_flood_is_cut(tmp_path):
    with pytest.raises(SpecError) as caught:
        read_prompts(written(tmp_path, *["{}"] * 14))
    *lines, last = str(caught.value).split("\n")
    assert len(lines) == 10
    assert last == "and 4 more"


def test_a_file_without_prompts_or_without_text_or_absent_is_refused(tmp_path):
    with pytest.raises(SpecError, match="holds no prompt"):
        read_prompts(written(tmp_path, ""))
    (tmp_path / "binary").write_bytes(b"{\xff")
    with pytest.raises(SpecError, match="binary: is not UTF-8 at byte 1"):
        read_prompts(tmp_path / "binary")
    with pytest.raises(SpecError, match="absent: cannot be read: No such file"):
        read_prompts(tmp_path / "absent")


def test_prompts_are_rendered_by_the_chat_template(tokenizer):
    tokenizer.chat_template = TEMPLATE
    encoded = encode_prompts([prompt("how was the soup ?"), prompt("how ?")], tokenizer, maximum_tokens=7)
    assert encoded == [[1, 3, 4, 5, 6, 7, 2], [1, 3, 7, 2]]


def test_a_tokenizer_without_template_encodes_the_text_of_single_messages(tokenizer):
    tokenizer.chat_template = None
    assert encode_prompts([prompt("how was")], tokenizer, maximum_tokens=2) == [[3, 4]]
    two = Prompt(messages=(Message(role="user", content="how"), Message(role="user", content="was")))
    with pytest.raises(
        SpecError, match='prompt "was": has 2 messages, but the tokenizer has no chat template'
    ):
        encode_prompts([two], tokenizer, maximum_tokens=2)


def test_a_prompt_that_is_too_long_is_named_with_its_length(tokenizer):
    tokenizer.chat_template = TEMPLATE
    with pytest.raises(SpecError, match=r'prompt "how was the soup \?": has 7 tokens, at most 6 fit'):
        encode_prompts([prompt("how was the soup ?"), prompt("how ?")], tokenizer, maximum_tokens=6)


@given(st.integers(1, 12), st.integers(1, 20), st.integers(0, 1000), st.integers(1, 4))
def test_every_epoch_has_each_prompt_once(prompts, per_iteration, seed, epochs):
    loader = PromptLoader(
        [prompt(str(number)) for number in range(prompts)], prompts_per_iteration=per_iteration, seed=seed
    )
    iterations = -(-epochs * prompts // per_iteration)
    dealt = [entry for iteration in range(iterations) for entry in loader.batch(iteration)]
    assert len(dealt) == iterations * per_iteration
    for epoch in range(epochs):
        texts = [entry.messages[0].content for entry in dealt[epoch * prompts : (epoch + 1) * prompts]]
        assert sorted(texts, key=int) == [str(number) for number in range(prompts)]


@given(st.integers(0, 1000), st.integers(0, 50))
def test_a_batch_depends_on_seed_and_iteration_alone(seed, iteration):
    prompts = [prompt(str(number)) for number in range(30)]
    first = PromptLoader(prompts, prompts_per_iteration=8, seed=seed)
    for earlier in range(3):
        first.batch(earlier)
    resumed = PromptLoader(prompts, prompts_per_iteration=8, seed=seed)
    assert first.batch(iteration) == resumed.batch(iteration)


def test_epochs_and_seeds_have_orders_of_their_own():
    prompts = [prompt(str(number)) for number in range(30)]
    loader = PromptLoader(prompts, prompts_per_iteration=30, seed=0)
    assert loader.batch(0) != loader.batch(1)
    assert loader.batch(0) != PromptLoader(prompts, prompts_per_iteration=30, seed=1).batch(0)


def test_a_loader_without_prompts_or_with_empty_batches_is_refused():
    with pytest.raises(SpecError, match="prompts: there are none"):
        PromptLoader([], prompts_per_iteration=1, seed=0)
    with pytest.raises(SpecError, match="prompts_per_iteration: is 0; expected at least 1"):
        PromptLoader([prompt("how")], prompts_per_iteration=0, seed=0)
