"""Every tracker is told each step; those of other packages in the calls that these have."""

import json
import sys
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from planner.domain.parallelism import ParallelStrategy
from runtime.trackers import trackers_of
from tests.runtime.plans import tiny_plan


def plan(*trackers, project="lessons"):
    made = tiny_plan({("actor", "critic", "reference", "reward"): ParallelStrategy()})
    run = made.scenario.run.model_copy(update={"trackers": trackers, "project": project})
    return made.model_copy(update={"scenario": made.scenario.model_copy(update={"run": run})})


class Recorder:
    """A module, run or whatever is asked for: it writes down its calls, and answers with the ids given."""

    def __init__(self, calls, name=""):
        self._calls, self._name = calls, name

    def __getattr__(self, name):
        if name in ("id", "run_id"):
            return "run-7"
        if name == "info":
            return self
        return Recorder(self._calls, f"{self._name}.{name}".lstrip("."))

    def __call__(self, *values, **named):
        self._calls.append((self._name, values, named))
        return Recorder(self._calls, self._name)


@pytest.fixture
def calls(monkeypatch):
    """Calls of the recording modules that stand for the real ones."""
    made = []
    for name in ("wandb", "mlflow"):
        monkeypatch.setitem(sys.modules, name, Recorder(made, name))
    return made


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_each_step_is_one_line_and_one_scalar_in_tensorboard(tmp_path):
    with trackers_of(plan("jsonl", "tensorboard"), tmp_path) as trackers:
        trackers.append(1, {"critic/rewards/mean": 0.5})
        trackers.append(2, {"critic/rewards/mean": 0.75})
    assert lines(tmp_path) == [
        {"step": 1, "critic/rewards/mean": 0.5},
        {"step": 2, "critic/rewards/mean": 0.75},
    ]
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    events = board.Scalars("critic/rewards/mean")
    assert [(event.step, event.value) for event in events] == [(1, 0.5), (2, 0.75)]


def test_a_resumed_run_keeps_the_steps_up_to_its_checkpoint(tmp_path):
    with trackers_of(plan("jsonl", "tensorboard"), tmp_path) as trackers:
        for step in (1, 2, 3):
            trackers.append(step, {"a": step})
    with trackers_of(plan("jsonl", "tensorboard"), tmp_path, kept=2) as trackers:
        trackers.append(3, {"a": 30.0})
    assert [line["a"] for line in lines(tmp_path)] == [1, 2, 30]
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("a")
    assert [(event.step, event.value) for event in events] == [(1, 1), (2, 2), (3, 30)]


def test_what_a_run_without_a_checkpoint_has_written_is_begun_anew(tmp_path):
    for value in (1.0, 10.0):
        with trackers_of(plan("jsonl", "tensorboard"), tmp_path) as trackers:
            trackers.append(1, {"a": value})
    assert lines(tmp_path) == [{"step": 1, "a": 10}]
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("a")
    assert [(event.step, event.value) for event in events] == [(1, 10)]


def test_only_trackers_that_are_asked_for_write(tmp_path):
    with trackers_of(plan("console"), tmp_path) as trackers:
        trackers.append(1, {"a": 1.0})
    assert list(tmp_path.iterdir()) == []
    with trackers_of(plan("jsonl"), tmp_path) as trackers:
        trackers.append(1, {"a": 1.0})
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_wandb_gets_the_scenario_and_each_steps_metrics(tmp_path, calls):
    made = plan("wandb")
    with trackers_of(made, tmp_path) as trackers:
        trackers.append(1, {"critic/rewards/mean": 0.5})
    config = made.scenario.model_dump(mode="json")
    begun = {
        "project": "lessons",
        "name": "tiny",
        "config": config,
        "dir": str(tmp_path),
        "id": None,
        "resume": "allow",
    }
    assert calls == [
        ("wandb.init", (), begun),
        ("wandb.init.log", ({"critic/rewards/mean": 0.5},), {"step": 1}),
        ("wandb.init.finish", (), {}),
    ]


def test_mlflow_gets_the_scenario_and_each_steps_metrics(tmp_path, calls):
    made = plan("mlflow")
    with trackers_of(made, tmp_path) as trackers:
        trackers.append(1, {"critic/rewards/mean": 0.5})
    assert calls == [
        ("mlflow.set_experiment", ("lessons",), {}),
        ("mlflow.start_run", (), {"run_id": None, "run_name": "tiny"}),
        ("mlflow.log_dict", (made.scenario.model_dump(mode="json"), "scenario.json"), {}),
        ("mlflow.log_metrics", ({"critic/rewards/mean": 0.5},), {"step": 1}),
        ("mlflow.end_run", (), {}),
    ]


def test_a_resumed_run_goes_on_in_the_run_that_the_trackers_know(tmp_path, calls):
    with trackers_of(plan("wandb", "mlflow"), tmp_path):
        pass
    calls.clear()
    with trackers_of(plan("wandb", "mlflow"), tmp_path, kept=2):
        pass
    named = {name: given for name, _, given in calls}
    assert named["wandb.init"]["id"] == named["mlflow.start_run"]["run_id"] == "run-7"


def test_what_was_opened_is_closed_when_the_next_cannot_be(tmp_path, calls, monkeypatch):
    def refuse(*values, **named):
        raise ConnectionError("no server")

    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(set_experiment=refuse))
    with pytest.raises(ConnectionError, match="no server"), trackers_of(plan("wandb", "mlflow"), tmp_path):
        pass
    assert calls[-1][0] == "wandb.init.finish"
