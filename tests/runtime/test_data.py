"""Prompt files, their mistakes, and the order in which prompts are dealt out."""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.errors import SpecError
from runtime.data import (
    Message,
    Prompt,
    PromptLoader,
    RewardSource,
    Text,
    read_prompts,
    read_texts,
)


def prompt(text: str) -> Prompt:
    return Prompt(messages=(Message(role="user", content=text),))


def written(folder: Path, *lines: str) -> Path:
    path = folder / "prompts.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_a_line_in_the_columns_of_verl_is_read_whole(tmp_path):
    line = {
        "data_source": "openai/gsm8k",
        "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}],
        "ability": "math",
        "reward_model": {"style": "rule", "ground_truth": "2"},
        "extra_info": {"split": "train", "index": 7},
        "a column of somebody else": 5,
    }
    assert read_prompts(written(tmp_path, json.dumps(line))) == [
        Prompt(
            messages=(Message(role="system", content="Be brief."), Message(role="user", content="1 + 1?")),
            data_source="openai/gsm8k",
            ability="math",
            reward_model=RewardSource(style="rule", ground_truth="2"),
            extra_info={"split": "train", "index": 7},
            columns={"a column of somebody else": 5},
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
    with pytest.raises(SpecError, match="holds no row"):
        read_prompts(written(tmp_path, ""))
    (tmp_path / "binary").write_bytes(b"{\xff")
    with pytest.raises(SpecError, match="binary: is not UTF-8 at byte 1"):
        read_prompts(tmp_path / "binary")
    with pytest.raises(SpecError, match="absent: cannot be read: No such file"):
        read_prompts(tmp_path / "absent")


@given(st.integers(1, 12), st.integers(1, 20), st.integers(0, 1000), st.integers(1, 4))
def test_every_epoch_has_each_prompt_once(prompts, per_iteration, seed, epochs):
    loader = PromptLoader(range(prompts), prompts_per_iteration=per_iteration, seed=seed)
    iterations = -(-epochs * prompts // per_iteration)
    dealt = [number for iteration in range(iterations) for number in loader.ids(iteration)]
    assert len(dealt) == iterations * per_iteration
    for epoch in range(epochs):
        assert sorted(dealt[epoch * prompts : (epoch + 1) * prompts]) == list(range(prompts))


@given(st.integers(0, 1000), st.integers(0, 50))
def test_a_batch_depends_on_seed_and_iteration_alone(seed, iteration):
    first = PromptLoader(range(30), prompts_per_iteration=8, seed=seed)
    for earlier in range(3):
        first.ids(earlier), first.further_ids(earlier)
    resumed = PromptLoader(range(30), prompts_per_iteration=8, seed=seed)
    assert first.ids(iteration) == resumed.ids(iteration)
    assert first.further_ids(iteration) == resumed.further_ids(iteration)


@given(st.integers(1, 40), st.integers(1, 10), st.integers(0, 100), st.integers(0, 20))
def test_further_prompts_are_none_that_are_used_now_or_next(prompts, per_iteration, seed, iteration):
    loader = PromptLoader(range(prompts), prompts_per_iteration=per_iteration, seed=seed)
    near = {*loader.ids(iteration), *loader.ids(iteration + 1)}
    further = loader.further_ids(iteration)
    assert len(set(further)) == len(further) >= 1
    assert set(further) == (set(range(prompts)) - near or set(range(prompts)))


def test_epochs_seeds_and_further_prompts_have_orders_of_their_own():
    loader = PromptLoader(range(30), prompts_per_iteration=30, seed=0)
    assert loader.ids(0) != loader.ids(1)
    assert loader.ids(0) != PromptLoader(range(30), prompts_per_iteration=30, seed=1).ids(0)
    assert loader.further_ids(0) != loader.further_ids(1)


def test_what_is_not_shuffled_keeps_the_order_of_the_files():
    loader = PromptLoader((4, 7, 9), prompts_per_iteration=2, seed=3, shuffle=False)
    assert [loader.ids(iteration) for iteration in range(3)] == [[4, 7], [9, 4], [7, 9]]


def test_a_loader_without_prompts_or_with_empty_batches_is_refused():
    with pytest.raises(SpecError, match="prompts: there are none"):
        PromptLoader([], prompts_per_iteration=1, seed=0)
    with pytest.raises(SpecError, match="prompts_per_iteration: is 0; expected at least 1"):
        PromptLoader(range(1), prompts_per_iteration=0, seed=0)


def test_parquet_in_the_columns_of_verl_is_read_like_jsonl(tmp_path):
    rows = [
        {
            "data_source": "openai/gsm8k",
            "prompt": [{"role": "user", "content": f"{number} + 1?"}],
            "ability": None,
            "reward_model": {"style": "rule", "ground_truth": str(number + 1)},
            "extra_info": {"index": number},
            "answer": number + 1,
        }
        for number in range(3)
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    lines = written(tmp_path, *(json.dumps(row) for row in rows))
    found = read_prompts(tmp_path / "a.parquet")
    assert found == read_prompts(lines)
    assert [each.ground_truth for each in found] == ["1", "2", "3"]
    assert found[2].columns == {"answer": 3}


def test_rows_know_where_they_stand_and_columns_of_that_name_are_data(tmp_path):
    path = written(tmp_path, '{"prompt": "how?", "where": 3}', "", '{"prompt": "was?"}')
    pyarrow.parquet.write_table(
        pyarrow.Table.from_pylist([{"text": "soup", "where": 3}]), tmp_path / "b.parquet"
    )
    found = read_prompts(path)
    assert [each.where for each in found] == [f"{path}:1", f"{path}:3"]
    assert found[0].columns == {"where": 3}
    assert [each.where for each in read_texts(tmp_path / "b.parquet")] == [f"{tmp_path}/b.parquet: row 0"]


def test_several_files_are_one_after_the_other_and_keys_name_the_columns(tmp_path):
    one = written(tmp_path, '{"question": "how?", "answer": "so"}')
    pyarrow.parquet.write_table(
        pyarrow.Table.from_pylist([{"question": "was?", "answer": "no"}]), tmp_path / "b.parquet"
    )
    found = read_prompts(one, tmp_path / "b.parquet", prompt_key="question", label_key="answer")
    assert [each.messages[0].content for each in found] == ["how?", "was?"]
    assert [each.ground_truth for each in found] == ["so", "no"]
    with pytest.raises(SpecError, match=r"prompts.jsonl:1: prompt: is missing"):
        read_prompts(one)
    with pytest.raises(SpecError, match=r"prompts.jsonl:1: text: is missing"):
        read_prompts(one, prompt_key="text")
    with pytest.raises(SpecError, match=r"prompts.jsonl:1: label: is missing"):
        read_prompts(one, prompt_key="question", label_key="label")


def test_mistakes_in_parquet_name_file_row_and_column(tmp_path):
    path = tmp_path / "bad.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"prompt": "a"}, {"prompt": ""}, {}]), path)
    with pytest.raises(SpecError, match=r"bad.parquet: row 2: prompt: expected a text"):
        read_prompts(path)
    path.write_bytes(b"no parquet at all")
    with pytest.raises(SpecError, match=r"bad.parquet: is not Parquet: Parquet magic bytes not found"):
        read_prompts(path)
    with pytest.raises(SpecError, match=r"absent.parquet: cannot be read: "):
        read_prompts(tmp_path / "absent.parquet")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{}", "expected either the column text or the column tokens"),
        ('{"text": ""}', "text: String should have at least 1 character"),
        ('{"tokens": [1]}', "tokens: "),
        ('{"tokens": [1, -1]}', "tokens.1: expected greater than or equal to 0"),
    ],
)
def test_a_mistake_in_pretraining_data_is_named(tmp_path, line, complaint):
    with pytest.raises(SpecError) as caught:
        read_texts(written(tmp_path, line))
    assert f"prompts.jsonl:1: {complaint}" in str(caught.value)


def test_pretraining_data_are_texts_or_tokens(tmp_path):
    path = written(tmp_path, '{"text": "how was the soup", "source": "web"}', '{"tokens": [3, 4, 7]}')
    assert read_texts(path) == [Text(text="how was the soup"), Text(tokens=(3, 4, 7))]
