"""Settings of a run: paths that follow the scenario's file, functions that are there, what mistakes say."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from planner.domain.reading import read_scenario
from planner.domain.run import RewardFunctionSettings, RunSettings, missing_function
from planner.errors import SpecError
from tests.planner.domain.test_reading import valid


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    for name in ("a.jsonl", "b.parquet", "texts.jsonl"):
        (tmp_path / "data" / name).write_text("")
    (tmp_path / "rules.py").write_text("import missing_package\n\nasync def compute_score(): ...\n")
    return tmp_path


def written(folder: Path, run: dict[str, Any]) -> Path:
    path = folder / "scenario.yaml"
    path.write_text(yaml.safe_dump({**valid(), "run": run}))
    return path


def mistakes(path: Path) -> list[str]:
    with pytest.raises(SpecError) as caught:
        read_scenario(path)
    return [line.removeprefix(f"{path}: ") for line in str(caught.value).splitlines()]


def test_one_file_of_prompts_is_short_for_a_list(folder: Path) -> None:
    run = read_scenario(written(folder, {"prompts": "data/a.jsonl"})).run
    assert run is not None
    assert run.prompts == (str(folder / "data" / "a.jsonl"),)
    assert RunSettings.model_validate_json(run.model_dump_json()) == run


def test_all_paths_start_from_the_scenarios_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {
        "prompts": ["data/a.jsonl", "data/b.parquet"],
        "pretraining": "data/texts.jsonl",
        "reward_function": {"path": "rules.py", "weight": 0.5, "arguments": {"strict": True}},
    }
    path = written(folder, asked)
    monkeypatch.chdir("/")
    run = read_scenario(path).run
    assert run is not None
    assert [name for _, name in run.files] == [
        str(folder / name) for name in ("data/a.jsonl", "data/b.parquet", "data/texts.jsonl", "rules.py")
    ]
    assert run.functions["reward"].arguments == {"strict": True}


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ({}, "run.prompts: missing"),
        ({"prompts": []}, "run.prompts: "),
        ({"prompts": ["data/a.jsonl", "c.jsonl"]}, "run.prompts[1]: no such file"),
        ({"pretraining": "c.jsonl"}, "run.pretraining: no such file"),
        ({"reward_function": {"path": "c.py"}}, "run.reward_function.path: no such file"),
        (
            {"reward_function": {"path": "rules.py", "name": "compute_scores"}},
            "rules.py: defines no 'compute_scores'; did you mean 'compute_score'?",
        ),
        ({"reward_function": {"name": "compute_score"}}, "run.reward_function.path: missing"),
        ({"reward_function": {"path": "rules.py", "wait": 1}}, "run.reward_function.wait: unknown key"),
        (
            {"reward_function": {"path": "rules.py", "signature": "verl batch"}},
            "run.reward_function.signature: input should be 'verl', 'verl-batched', 'openrlhf' or 'trl'",
        ),
        (
            {"reward_function": {"path": "rules.py", "weight": "heavy"}},
            "run.reward_function.weight: input should be",
        ),
        ({"cost_function": {"path": "rules.py"}}, "run.cost_function: there is no role 'cost'"),
        ({"trackers": ["console", "wand"]}, "run.trackers[1]: input should be 'console', 'jsonl',"),
        ({"trackers": "wandb"}, "run.trackers: expected a list, found 'wandb'"),
        ({"overlong_prompts": "cut"}, "run.overlong_prompts: input should be 'error', 'drop' or 'truncate'"),
        ({"top_p": 0}, "run.top_p: input should be greater than 0"),
        ({"top_k": 0}, "run.top_k: input should be greater than or equal to 1"),
        ({"checkpoint_every": 0}, "run.checkpoint_every: input should be greater than or equal to 1"),
    ],
)
def test_one_mistake_is_one_line_with_its_key(folder: Path, run: dict[str, Any], expected: str) -> None:
    needed = {"prompts": "data/a.jsonl"} if run else {}
    (line,) = mistakes(written(folder, {**needed, **run}))
    assert expected in line


@pytest.mark.parametrize(
    "code",
    [
        "def compute_score(): ...",
        "async def compute_score(): ...",
        "from rules import score as compute_score",
        "from rules import *",
        "compute_score = lambda: 0",
        "compute_score: object = print",
        "try:\n    from a import compute_score\nexcept ImportError:\n    pass",
        "if True:\n    pass\nelse:\n    def compute_score(): ...",
        "class compute_score: ...",
        "score = compute_score = print",
    ],
)
def test_a_function_is_found_however_it_gets_its_name(tmp_path: Path, code: str) -> None:
    (tmp_path / "rules.py").write_text(code)
    assert missing_function(RewardFunctionSettings(path=str(tmp_path / "rules.py"))) is None


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("def score(): ...", "defines no 'compute_score' (it has score)"),
        ("", "defines no 'compute_score' (it has nothing)"),
        ("def outer():\n    def compute_score(): ...", "defines no 'compute_score' (it has outer)"),
        ("x = 1\ndef compute_score(:\n", "rules.py:2: invalid syntax"),
        ("x = '\0'", "rules.py"),
    ],
)
def test_a_function_that_is_not_there_is_missed_without_running_the_file(
    tmp_path: Path, code: str, reason: str
) -> None:
    (tmp_path / "rules.py").write_text(code)
    assert reason in str(missing_function(RewardFunctionSettings(path=str(tmp_path / "rules.py"))))


def test_what_a_run_needs_at_least_are_prompts() -> None:
    settings = RunSettings(prompts="prompts.jsonl")
    assert settings.trackers == ("console", "jsonl", "tensorboard")
    assert settings.checkpoint_every == 10
    assert not settings.functions
    with pytest.raises(ValidationError):
        RunSettings(prompts=())


def test_a_run_goes_on_with_other_trackers_and_not_with_another_seed():
    begun = RunSettings(prompts="prompts.jsonl")
    assert RunSettings(prompts="prompts.jsonl", trackers=("jsonl",), checkpoint_every=3).resumes(begun)
    assert RunSettings(prompts="prompts.jsonl", iterations=7).resumes(begun)
    assert not RunSettings(prompts="prompts.jsonl", seed=1).resumes(begun)
