"""Every tracker is told each step; those of other packages in the calls that these have."""

import json
import logging
import sys
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from planner.domain.parallelism import ParallelStrategy
from planner.errors import SpecError
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
        ("wandb.init.finish", (), {"exit_code": 0}),
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
        ("mlflow.end_run", ("FINISHED",), {}),
    ]


def test_mlflow_gets_names_that_it_takes(tmp_path, calls):
    with trackers_of(plan("mlflow"), tmp_path) as trackers:
        trackers.append(1, {"reward/acc@1": 0.5, "timing_s/gen": 1.0, "größe (cm)": 2.0})
    told = next(values for name, values, _ in calls if name == "mlflow.log_metrics")
    assert told == ({"reward/acc_1": 0.5, "timing_s/gen": 1.0, "größe _cm_": 2.0},)


@pytest.mark.parametrize("ending", [RuntimeError("a worker died"), KeyboardInterrupt()])
def test_a_run_that_fails_is_marked_as_failed(tmp_path, calls, ending):
    with pytest.raises(type(ending)), trackers_of(plan("wandb", "mlflow"), tmp_path):
        raise ending
    assert calls[-2:] == [
        ("mlflow.end_run", ("FAILED",), {}),
        ("wandb.init.finish", (), {"exit_code": 1}),
    ]


def test_a_resumed_run_goes_on_in_the_run_that_the_trackers_know(tmp_path, calls):
    with trackers_of(plan("wandb", "mlflow"), tmp_path):
        pass
    calls.clear()
    with trackers_of(plan("wandb", "mlflow"), tmp_path, kept=2):
        pass
    named = {name: given for name, _, given in calls}
    assert named["wandb.init"]["id"] == named["mlflow.start_run"]["run_id"] == "run-7"


class UsageError(Exception):
    """As W&B has one, which is none of Python's."""


def refuse(*values, **named):
    raise UsageError("no\nserver")


def test_what_cannot_be_opened_is_named_and_what_was_opened_is_closed(tmp_path, calls, monkeypatch):
    with trackers_of(plan("jsonl"), tmp_path) as trackers:
        trackers.append(1, {"a": 1.0})
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(set_experiment=refuse))
    asked = plan("jsonl", "wandb", "mlflow")
    with pytest.raises(SpecError) as caught, trackers_of(asked, tmp_path):
        pass
    assert str(caught.value) == (
        "tiny: run.trackers: mlflow cannot be opened: UsageError: no server; "
        "set MLFLOW_TRACKING_URI to a server that answers, or leave it out"
    )
    assert calls[-1] == ("wandb.init.finish", (), {"exit_code": 1})
    assert lines(tmp_path) == [{"step": 1, "a": 1.0}], "nothing is dropped for a run that does not start"


def test_what_fails_later_ends_no_run_and_is_said_once(tmp_path, calls, monkeypatch, caplog):
    with trackers_of(plan("jsonl", "mlflow", "wandb"), tmp_path) as trackers:
        monkeypatch.setattr(sys.modules["mlflow"], "log_metrics", refuse, raising=False)
        monkeypatch.setattr(sys.modules["mlflow"], "end_run", refuse, raising=False)
        for step in (1, 2):
            trackers.append(step, {"a": step})
    assert [line["step"] for line in lines(tmp_path)] == [1, 2]
    assert [named["step"] for name, _, named in calls if name == "wandb.init.log"] == [1, 2]
    assert caplog.record_tuples == [
        (
            "runtime.trackers",
            logging.WARNING,
            "run.trackers: mlflow was not told of step 1: UsageError: no server; "
            "the run goes on, and this is said once",
        )
    ]


def test_our_own_file_must_be_written(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with trackers_of(plan("jsonl"), tmp_path) as trackers:
        path.unlink()
        path.symlink_to("/dev/full")
        with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
            trackers.append(1, {"a": 1.0})
