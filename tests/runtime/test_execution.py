"""A small PPO run for real: Ray, Megatron-Core and vLLM on CPU, with the quickstart's models."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from safetensors.torch import load_file

import runtime
from planner.domain.parallelism import ParallelStrategy
from planner.domain.plan import Plan
from planner.domain.profile import Profile
from planner.domain.reading import read_plan, read_profile, write_plan
from planner.domain.text import load_json
from planner.domain.timeline import Timeline
from planner.errors import PlanMismatchError, SpecError, WorkerError
from runtime.execution import run
from runtime.session import KeptProcesses
from runtime.trackers import trackers_of
from tests.runtime.plans import cpu_device, quickstart_plan
from tests.runtime.worlds import shared_memory

ROOT = Path(__file__).parents[2]
ALL = ("actor", "critic", "reference", "reward")
REPORTED = ("timing_s/", "perf/")
NOBODY = "127.0.0.1:1"


def colocated(*, tensor: int = 2) -> Plan:
    return quickstart_plan({ALL: ParallelStrategy(tensor=tensor)})


def tolerating(difference: float) -> Plan:
    """The plan with another bound for what the two engines' log-probabilities may differ by."""
    plan = colocated()
    settings = plan.scenario.run.model_copy(update={"logprob_tolerance": difference})
    return plan.model_copy(update={"scenario": plan.scenario.model_copy(update={"run": settings})})


def measured() -> Profile:
    return Profile(device=cpu_device(), processes=2, calls=(), versions={}, date="2026-01-31")


def losses(folder: Path) -> list[dict]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [
        {name: value for name, value in json.loads(line).items() if not name.startswith(REPORTED)}
        for line in lines
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Three iterations in one go."""
    folder = tmp_path_factory.mktemp("whole")
    reports = []
    result = run(colocated(), out=folder, iterations=3, profile=measured(), progress=reports.append)
    return folder, result, reports


def test_a_run_reports_each_iteration_with_finite_numbers(finished):
    _, result, reports = finished
    assert [report.iteration for report in reports] == [0, 1, 2]
    assert reports[0].kl == pytest.approx(0, abs=1e-5)
    assert result.metrics == reports[-1].metrics
    assert all(value == value and abs(value) < 1e15 for value in result.metrics.values())
    assert 0 < result.metrics["reshard/logprob_difference_max"] < 1e-4
    assert set(reports[0].seconds_by_call) == {
        "actor.generate/reshard",
        "actor.generate",
        "critic.values",
        "reference.logprobs",
        "reward.scores",
        "controller.advantages",
        "critic.update",
        "actor.update",
    }


def test_the_run_directory_has_plan_profile_metrics_timeline_and_the_policy(finished):
    folder, result, _ = finished
    assert read_plan(folder / "plan.json") == colocated()
    assert read_profile(folder / "profile.json") == measured()
    assert [line["step"] for line in losses(folder)] == [1, 2, 3]
    timeline = Timeline.model_validate(load_json(folder / "timeline.json"))
    assert timeline == result.timeline
    assert timeline.iterations == (0, 1, 2)
    assert timeline.pools == ("pool-0", "controller")
    assert list((folder / "tensorboard").iterdir())
    names = {path.name for path in (folder / "policy").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names


def test_the_policy_has_moved_from_where_it_started(finished):
    folder, _, _ = finished
    trained = load_file(folder / "policy" / "model.safetensors")["lm_head.weight"]
    start = load_file(Path(colocated().scenario.models["actor"].folder) / "model.safetensors")[
        "lm_head.weight"
    ]
    assert 0 < (trained - start).abs().max() < 0.1


def test_a_run_resumed_in_processes_used_before_equals_a_whole_one_to_the_last_bit(finished, tmp_path):
    whole, result, _ = finished
    with KeptProcesses() as kept:
        begin_without_a_checkpoint(tmp_path)
        run(colocated(), out=tmp_path, iterations=2, resume=True, kept=kept)
        used = hosts_of(psutil.Process())
        resumed = run(colocated(), out=tmp_path, iterations=3, resume=True, kept=kept)
        assert hosts_of(psutil.Process()) == used != set()
        with pytest.raises(
            WorkerError, match=r"actor: rank . failed in actor.generate: .*run.logprob_tolerance"
        ):
            run(tolerating(1e-12), out=tmp_path / "strict", iterations=1, kept=kept)
    assert losses(tmp_path) == losses(whole)
    assert resumed.timeline.iterations == (0, 1, 2)
    assert resumed.samples_before == result.samples_before
    assert resumed.samples_after == result.samples_after


def begin_without_a_checkpoint(folder: Path) -> None:
    """Leave what a run leaves that is killed in its second iteration."""
    write_plan(colocated(), folder / "plan.json")
    with trackers_of(colocated(), folder) as trackers:
        trackers.append(1, {"critic/score/mean": 1.0})


def test_where_no_run_was_begun_there_is_nothing_to_resume(tmp_path):
    with pytest.raises(SpecError, match="nothing to resume"):
        run(colocated(), out=tmp_path, resume=True)
    assert list(tmp_path.iterdir()) == []


def test_a_start_that_is_refused_writes_nothing(tmp_path):
    with pytest.raises(PlanMismatchError, match="nothing answers there"):
        run(colocated(), out=tmp_path / "out", address=NOBODY)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_refused_before_anything_starts(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SpecError, match="file is not a folder"):
        run(colocated(), out=tmp_path / "file" / "out", address=NOBODY)


def test_a_resume_that_is_refused_changes_nothing(tmp_path):
    begin_without_a_checkpoint(tmp_path)
    other = colocated(tensor=1)
    before = contents(tmp_path)
    with pytest.raises(PlanMismatchError, match="nothing answers there"):
        run(other, out=tmp_path, resume=True, address=NOBODY)
    assert contents(tmp_path) == before


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_of_another_scenario_is_not_resumed(finished):
    folder, _, _ = finished
    plan = colocated()
    workload = plan.scenario.workload.model_copy(update={"prompts": 12})
    other = plan.model_copy(update={"scenario": plan.scenario.model_copy(update={"workload": workload})})
    with pytest.raises(PlanMismatchError, match=r"another scenario\.workload"):
        run(other, out=folder, iterations=4, resume=True)


SCRIPT = """
import sys
from pathlib import Path
from planner.domain.reading import read_plan
from runtime.execution import run
plan, out = read_plan(sys.argv[1]), Path(sys.argv[2])
run(plan, out=out, iterations=1000, progress=lambda _: print("ready", flush=True))
"""


@pytest.fixture
def running(tmp_path):
    """A run of its own process that has finished its first iteration."""
    write_plan(colocated(tensor=1), tmp_path / "plan.json")
    arguments = [sys.executable, "-c", SCRIPT, str(tmp_path / "plan.json"), str(tmp_path / "out")]
    process = subprocess.Popen(
        arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    yield process
    process.kill()


def workers_of(process: subprocess.Popen) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def hosts_of(process: psutil.Process) -> set[psutil.Process]:
    """Those of its workers that hold engines."""
    return {child for child in process.children(recursive=True) if "ray::Host" in " ".join(child.cmdline())}


def wait_until_gone(processes: list[psutil.Process]) -> list[psutil.Process]:
    _, alive = psutil.wait_procs(processes, timeout=15)
    return alive


@pytest.fixture
def shared_memory_stays_as_it_was():
    before = shared_memory()
    yield
    assert shared_memory() <= before


def shared_memory_of(processes: list[psutil.Process]) -> set[Path]:
    """What they have mapped, semaphores included."""
    mapped: set[Path] = set()
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # Ray has some that are soon done
            mapped |= {Path(region.path) for region in process.memory_maps()}
    return {path for path in mapped if path.is_relative_to("/dev/shm")}


@pytest.mark.usefixtures("shared_memory_stays_as_it_was")
def test_an_interrupt_leaves_no_process_and_no_shared_memory_behind(running):
    assert running.stdout.readline() == "ready\n"
    started = workers_of(running)
    assert len(started) > 2
    mapped = shared_memory_of(started)
    assert mapped
    os.kill(running.pid, signal.SIGINT)
    assert running.wait(timeout=30) != 0
    assert "KeyboardInterrupt" in running.stderr.read()
    assert wait_until_gone(started) == []
    assert [path for path in mapped if path.exists()] == []


@pytest.mark.usefixtures("shared_memory_stays_as_it_was")
def test_a_killed_worker_ends_the_run_within_seconds_and_names_its_rank(running):
    assert running.stdout.readline() == "ready\n"
    started = workers_of(running)
    biggest = max(hosts_of(psutil.Process(running.pid)), key=lambda process: process.memory_info().rss)
    mapped = shared_memory_of(started)
    began = time.monotonic()
    biggest.kill()
    assert running.wait(timeout=30) != 0
    assert time.monotonic() - began < 15
    errors = running.stderr.read()
    assert "WorkerError" in errors
    assert "rank" in errors
    assert "died in" in errors
    assert wait_until_gone(started) == []
    assert [path for path in mapped if path.exists()] == []


def test_public_names_are_the_functions_also_at_the_second_look():
    for _ in range(2):
        assert runtime.run is run
        assert callable(runtime.profile)
        assert callable(runtime.dry_run)
