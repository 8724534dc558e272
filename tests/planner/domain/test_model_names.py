import json
from pathlib import Path

import pytest

from planner.domain.catalog import read_model
from planner.errors import SpecError

AS_MEASURED = {
    "meta-llama/Llama-3.1-8B-Instruct": "llama-3.1-8b",
    "meta-llama/Meta-Llama-3-70B": "llama-3.1-70b",
    "Qwen/Qwen3-32B": "qwen3-32b",
    "qwen2.5 7b math": "qwen2.5-7b",
    "Qwen2.5-Math-7B": "qwen2.5-7b",
    "qwen2.5-7b-instruct": "qwen2.5-7b",
    "LLAMA3.1_8B": "llama-3.1-8b",
    "llama2-70b": "llama-2-70b",
    "codellama/CodeLlama-34b-Instruct-hf": "codellama-34b",
    "deepseek-ai/DeepSeek-V3-0324": "deepseek-v3",
    "Qwen/Qwen3-30B-A3B-Instruct-2507": "qwen3-30b-a3b",
    "Qwen3-235B": "qwen3-235b-a22b",
    "mistralai/Mixtral-8x7B-Instruct-v0.1": "mixtral-8x7b",
    "moonshotai/Moonlight-16B-A3B-Instruct": "moonlight-16b-a3b",
    "gpt3-175b": "gpt-3-175b",
    "meta-llama/Llama-3.3-70B-Instruct": "llama-3.1-70b",
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": "qwen2.5-7b",
    "Qwen/Qwen3-32B-FP8": "qwen3-32b",
}


@pytest.mark.parametrize(("written", "name"), AS_MEASURED.items())
def test_models_are_found_as_measured_rows_write_them(written: str, name: str) -> None:
    assert read_model(written).name == name


@pytest.mark.parametrize(
    ("written", "nearest"),
    [("Qwen/Qwen3-33B", "qwen3-3"), ("llama-2-8b-chat", "llama-2-7b"), ("llama-3.1", "llama-3")],
)
def test_an_unknown_name_is_refused_with_the_nearest(written: str, nearest: str) -> None:
    with pytest.raises(SpecError) as caught:
        read_model(written)
    assert f"no model '{written}'; did you mean '{nearest}" in str(caught.value)


def test_a_name_that_several_models_begin_with_lists_them(tmp_path: Path, monkeypatch) -> None:
    config = json.loads((Path(__file__).parents[3] / "profiles/models/qwen3-8b.json").read_text())
    folder = tmp_path / "profiles" / "models"
    folder.mkdir(parents=True)
    for name in ("toy-9b-wide", "toy-9b-deep"):
        (folder / f"{name}.json").write_text(json.dumps(config))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match="'Toy-9B' can be any of toy-9b-deep, toy-9b-wide"):
        read_model("Toy-9B")


def test_a_folder_hides_a_catalog_model_of_a_similar_name(tmp_path: Path) -> None:
    source = Path(__file__).parents[3] / "profiles/models/qwen3-0.6b.json"
    (tmp_path / "Qwen3-8B-Base").mkdir()
    (tmp_path / "Qwen3-8B-Base" / "config.json").write_text(source.read_text())
    assert read_model("Qwen3-8B-Base", relative_to=tmp_path).layers == 28
