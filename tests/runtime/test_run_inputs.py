"""What a run lacks is said at once, before anything starts."""

import pytest

from hybridmap.__main__ import main
from planner.domain.algorithm import SafeRlhfOptions
from planner.domain.parallelism import ParallelStrategy
from planner.domain.reading import read_scenario
from planner.domain.run import RewardFunctionSettings
from planner.domain.scenario import Service
from planner.errors import SpecError
from runtime.run_inputs import check_inputs
from tests.runtime.plans import QUICKSTART, tiny_plan


def scenario(tmp_path, *, services=(), algorithm=None, workload=None, **run):
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "how?"}')
    made = tiny_plan({("actor", "critic", "reference", "reward"): ParallelStrategy()}).scenario
    settings = made.run.model_copy(update={"prompts": (str(tmp_path / "prompts.jsonl"),), **run})
    changes = {
        "run": settings,
        "services": {role: Service(seconds_per_sample="1 ms") for role in services},
        "algorithm": algorithm or made.algorithm,
        "workload": made.workload.model_copy(update=workload or {}),
    }
    return made.model_copy(update=changes)


def problems(made):
    with pytest.raises(SpecError) as caught:
        check_inputs(made)
    return str(caught.value).splitlines()


def test_the_quickstarts_lack_nothing(tmp_path):
    check_inputs(scenario(tmp_path))
    for name in ("quickstart.yaml", "quickstart-grpo.yaml"):
        check_inputs(read_scenario(QUICKSTART.parent / name))


def test_files_that_have_gone_since_the_plan_was_made_are_named_together(tmp_path):
    gone = str(tmp_path / "gone")
    made = scenario(
        tmp_path, prompts=(gone,), pretraining=(gone,), reward_function=RewardFunctionSettings(path=gone)
    )
    assert problems(made) == [
        f"tiny: run.prompts[0]: no such file: {gone}",
        f"tiny: run.pretraining[0]: no such file: {gone}",
        f"tiny: run.reward_function.path: no such file: {gone}",
    ]


def test_a_service_without_a_function_is_refused(tmp_path):
    assert problems(scenario(tmp_path, services=("reward",))) == [
        "tiny: run.reward_function: missing; reward is a service, say {path: FILE.py}"
    ]


def test_a_function_that_its_file_does_not_define_is_refused(tmp_path):
    (tmp_path / "rules.py").write_text("def score(): ...")
    (problem,) = problems(
        scenario(tmp_path, reward_function=RewardFunctionSettings(path=str(tmp_path / "rules.py")))
    )
    assert "run.reward_function: " in problem
    assert "defines no 'compute_score'" in problem


def test_wrong_rows_and_parameters_are_named_together(tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"prompt": "how?"}\n{"text": "a"}\n{')
    (tmp_path / "rules.py").write_text("def compute_score(answer): ...")
    bad, rules = str(tmp_path / "bad.jsonl"), str(tmp_path / "rules.py")
    made = scenario(tmp_path, pretraining=(bad,), reward_function=RewardFunctionSettings(path=rules))
    assert [line.split(": ", 1)[1][:60] for line in problems(made)] == [
        line[:60]
        for line in (
            f"run.pretraining: {bad}:1: expected either the column text or",
            f"run.pretraining: {bad}:3: Invalid JSON: EOF while parsing",
            f"run.reward_function: {rules}: compute_score(answer): takes none of solution_str",
        )
    ]
    made = scenario(tmp_path, prompts=(bad,))
    assert problems(made)[0] == f"tiny: run.prompts: {bad}:2: prompt: is missing"


def test_a_service_is_called_with_the_columns_of_its_prompts(tmp_path):
    (tmp_path / "rules.py").write_text("def compute_score(completions, stars): ...")
    function = RewardFunctionSettings(path=str(tmp_path / "rules.py"))
    (problem,) = problems(scenario(tmp_path, reward_function=function))
    assert "missing a required argument: 'stars'" in problem
    (tmp_path / "starred.jsonl").write_text('{"prompt": "how?", "stars": 3}')
    check_inputs(scenario(tmp_path, prompts=(str(tmp_path / "starred.jsonl"),), reward_function=function))


def test_a_tracker_that_is_not_installed_is_refused_with_its_package(tmp_path, monkeypatch):
    monkeypatch.setattr("runtime.run_inputs.find_spec", lambda name: None)
    assert problems(scenario(tmp_path, trackers=("console", "wandb", "mlflow"))) == [
        "tiny: run.trackers: wandb is not installed; `pip install wandb`, or leave it out",
        "tiny: run.trackers: mlflow is not installed; `pip install mlflow`, or leave it out",
    ]


def test_pretraining_that_is_asked_for_needs_data(tmp_path):
    (problem,) = problems(scenario(tmp_path, algorithm=SafeRlhfOptions()))
    assert "run.pretraining: missing; safe_rlhf learns from pretraining data as well" in problem
    check_inputs(scenario(tmp_path, algorithm=SafeRlhfOptions(), workload={"pretraining_tokens": 0}))
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"text": "a"}')
    check_inputs(scenario(tmp_path, algorithm=SafeRlhfOptions(), pretraining=(str(texts),)))


def test_tokens_of_pretraining_data_are_the_actors(tmp_path):
    texts = tmp_path / "texts.jsonl"
    made = scenario(tmp_path, algorithm=SafeRlhfOptions(), pretraining=(str(texts),))
    last = made.models["actor"].vocab - 1
    texts.write_text(f'{{"tokens": [0, {last}]}}')
    check_inputs(made)
    texts.write_text(f'{{"tokens": [0, {last}]}}\n{{"tokens": [{2**31}, 1]}}')
    assert problems(made) == [
        f"tiny: run.pretraining: {texts}:2: tokens: has {2**31}; the actor's are 0 to {last}"
    ]


def test_the_command_ends_before_anything_starts(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("runtime.run_inputs.find_spec", lambda name: None)
    out = tmp_path / "run"
    settings = ["--set", "run.trackers=[jsonl,wandb]"]
    assert main(["run", str(QUICKSTART), "--out", str(out), *settings]) == 2
    said = capsys.readouterr()
    assert said.err.strip() == (
        "error: quickstart: run.trackers: wandb is not installed; `pip install wandb`, or leave it out"
    )
    assert said.out == ""
    assert not out.exists()


def test_a_dry_run_reads_the_rows(tmp_path, capsys):
    bad = tmp_path / "bad.jsonl"
    bad.write_text("{")
    assert main(["run", str(QUICKSTART), "--dry-run", "--set", f"run.prompts={bad}"]) == 2
    assert capsys.readouterr().err.startswith(f"error: quickstart: run.prompts: {bad}:1: Invalid JSON")
