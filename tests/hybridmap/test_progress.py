"""A line per iteration, for those who want one."""

from types import SimpleNamespace

import pytest

from hybridmap.progress import RunProgress
from planner.domain.parallelism import ParallelStrategy
from tests.runtime.plans import tiny_plan

REPORT = SimpleNamespace(
    iteration=0, reward=0.5, kl=0.25, seconds=2.0, seconds_by_call={"actor.generate": 1.5}
)


def shown(capsys: pytest.CaptureFixture[str], **run: object) -> str:
    plan = tiny_plan({("actor", "critic", "reference", "reward"): ParallelStrategy()})
    assert plan.scenario.run is not None
    changed = plan.scenario.model_copy(update={"run": plan.scenario.run.model_copy(update=run)})
    options = SimpleNamespace(iterations=None)
    with RunProgress(options, plan.model_copy(update={"scenario": changed})) as progress:  # type: ignore[arg-type]
        progress.show(REPORT)
    return capsys.readouterr().err


def test_each_iteration_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys).strip() == "iteration 1: reward +0.500  kl +0.2500  2.00 s: generate 1.50"


def test_without_the_console_among_the_trackers_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, trackers=("jsonl",)) == ""
