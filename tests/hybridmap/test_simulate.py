"""``hybridmap simulate``: its answer, whole jobs, and what it refuses."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hybridmap.__main__ import main
from planner.domain.reading import read_plan

ASYNCHRONOUS = [
    *("plan", "--model", "llama-3.2-1b", "--cluster", "1x4xa100-sxm-80gb", "--set", "staleness=1"),
    *("--set", "workload.prompts=64", "--set", "workload.mini_batches=4"),
    *("--set", "workload.prompt_tokens=256", "--set", "workload.response_tokens=4096"),
]


def test_an_asynchronous_plan_is_simulated_from_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, picture = tmp_path / "plan.json", tmp_path / "timeline.png"
    assert main([*ASYNCHRONOUS, "--out", str(path)]) == 0
    plan = read_plan(path)
    assert plan.staleness == 1
    assert plan.pool_of("generator").ahead["generator.generate"] > 0
    capsys.readouterr()
    assert main(["simulate", str(path), "--iterations", "12", "--plot", str(picture), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    starts = {(span["call"], span["iteration"]): span["start"] for span in answer["calls"]}
    assert {"generator.receive", "actor.send"} <= {call for call, _ in starts}
    assert starts["generator.generate", 1] < starts["actor.update", 0]
    period = (starts["actor.update", 9] - starts["actor.update", 3]) / 6
    assert period == pytest.approx(answer["iteration_seconds"], rel=1e-3)
    assert picture.stat().st_size > 0


GRPO = [
    *("simulate", "scenarios/examples/grpo-7b.yaml", "--runners-up", "0"),
    *("--set", "workload.prompts=32", "--set", "workload.mini_batches=2"),
]


def answer_of(words: list[str], capsys: pytest.CaptureFixture[str], *, code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*words, "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_answer_has_calls_generation_idle_memory_and_cost(capsys: pytest.CaptureFixture[str]) -> None:
    answer = answer_of([*GRPO, "--iterations", "2"], capsys)
    assert set(answer["calls"][0]) == {"call", "role", "kind", "pool", "iteration", "start", "end"}
    generation = answer["generation"]
    assert list(generation["tail"]) == ["100", "50", "90", "99"]
    assert generation["tail"]["50"] < generation["tail"]["99"] <= generation["tail"]["100"]
    assert generation["tokens"] == generation["calls"][1]["response_tokens"]
    assert (generation["preemptions"], generation["waves"]) == (0, 1)
    idle = answer["idle"]
    assert idle["busy"] + sum(idle["causes"].values()) == pytest.approx(idle["device_seconds"])
    assert idle["causes"]["tail"] > 0
    assert answer["memory"]["actor"]["transient"]["actor.generate"]["kv_cache"] > 0
    assert answer["cost"]["device_seconds_per_iteration"] == pytest.approx(32 * answer["iteration_seconds"])
    assert answer["cost"]["dollars_per_million_tokens"] > 0
    low, high = answer["error_band"]["iteration_seconds"]
    assert low < answer["predicted_seconds"] < high
    assert answer["job"] is None


def test_the_seed_of_the_lengths_changes_the_simulation_and_not_the_plan(
    capsys: pytest.CaptureFixture[str],
) -> None:
    one, same, other = (answer_of([*GRPO, "--set", f"rollouts.seed={seed}"], capsys) for seed in (0, 0, 1))
    assert one == same
    assert one["iteration_seconds"] != other["iteration_seconds"]
    assert one["predicted_seconds"] == other["predicted_seconds"]


def test_lengths_of_a_trace_are_planned_for_and_simulated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "lengths.csv"
    trace.write_text("response_tokens\n" + "\n".join(str(100 + 7 * number) for number in range(200)))
    value = f"workload.response_tokens={{trace: {trace}, maximum: 1000}}"
    answer = answer_of([*GRPO, "--set", value], capsys)
    mean = sum(min(1000, 100 + 7 * number) for number in range(200)) / 200
    assert answer["generation"]["tokens"] / (32 * 16) == pytest.approx(mean, rel=0.1)
    assert answer["generation"]["calls"][0]["longest_tokens"] == 1000


def test_a_job_is_answered_in_hours_dollars_and_parts(capsys: pytest.CaptureFixture[str]) -> None:
    job = [
        *("--set", "job.iterations=100", "--set", "job.growth={factor: 1.5}"),
        *("--set", "job.checkpoints={every: 10, bandwidth: 5 GB/s}"),
        *("--set", "job.failures={mean_time_between: 2000 h, restart: 10 min}"),
    ]
    found = answer_of([*GRPO, *job], capsys)["job"]
    assert found["seconds"] == pytest.approx(sum(found["parts"].values()))
    assert found["device_hours"] == pytest.approx(32 * found["seconds"] / 3600)
    assert found["dollars"] == pytest.approx(2.25 * found["device_hours"])
    assert all(seconds > 0 for seconds in found["parts"].values())


def test_the_fewest_devices_that_are_done_in_time_are_found(capsys: pytest.CaptureFixture[str]) -> None:
    words = [*GRPO, "--set", "job.iterations=100", "--done-within", "1.5 h"]
    answer = answer_of(words, capsys)
    rows = answer["attempts"]
    fewest = min(row["devices"] for row in rows if row["done"])
    assert sum(each["devices"] for each in answer["idle"]["pools"]) == fewest
    assert answer["job"]["seconds"] <= 1.5 * 3600
    assert any(not row["done"] and row["devices"] == fewest - 8 for row in rows)


def test_a_job_that_failures_never_let_be_done_is_refused_with_what_to_change(
    capsys: pytest.CaptureFixture[str],
) -> None:
    job = ["--set", "job={iterations: 100, failures: {mean_time_between: 30 min, restart: 1 min}}"]
    said = "over 100 times its work.*add job.checkpoints"
    for words, code in (([], 2), (["--done-within", "1 h"], 3)):
        assert main([*GRPO, *job, *words]) == code
        assert re.search(said, " ".join(capsys.readouterr().err.split()))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--iterations", "1000000000"], "at least 1 and at most 10,000, not 1000000000"),
        (["--trace", "a.svg", "--plot", "a.svg"], "both name a.svg"),
        (["--done-within", "1 h"], "job: missing; say at least job.iterations"),
        (["--set", "workload.response_tokens={trace: none.csv, maximum: 9}"], "no such file: .*none.csv"),
        (["--set", "workload.response_tokens={mean: 10, median: 9, maximum: 99}"], "found mean and median"),
        (["--set", "rollouts.balance=even"], "'split' or 'queue'"),
        (["--set", "rollouts.carrry=1"], "carry"),
        (["--set", "job.iterations=0"], "greater than or equal to 1"),
        (["--set", "job={iterations: 5, failures: {restart: 5 min}}"], "mean_time_between"),
    ],
)
def test_bad_questions_are_refused_before_anything_runs(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*GRPO, *words]) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert re.search(said, shown), shown


def test_a_file_that_cannot_be_written_leaves_one_answer_and_it_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer = answer_of([*GRPO, "--trace", "/proc/trace.json"], capsys, code=2)
    assert answer["reason"].startswith("/proc/trace.json: cannot be written")


def test_the_file_that_is_asked_about_is_never_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = tmp_path / "mine.yaml"
    scenario.write_text(Path("scenarios/examples/grpo-7b.yaml").read_text())
    before = scenario.read_bytes()
    for words in (["simulate", "--trace"], ["plan", "--out"]):
        answer = answer_of([words[0], str(scenario), words[1], str(scenario)], capsys, code=2)
        assert "is what is asked about" in answer["reason"]
    assert scenario.read_bytes() == before


def test_a_deadline_that_nothing_meets_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    asked = [*GRPO, "--done-within", "1 d", "--set", "job.iterations=100"]
    small = answer_of([*asked, "--set", "maximum_devices=1"], capsys, code=3)
    assert "GiB" in small["fix"]
    failures = "job.failures={mean_time_between: 1 min, restart: 5 min}"
    assert "over 100 times its work" in answer_of([*asked, "--set", failures], capsys, code=3)["fix"]


@pytest.mark.parametrize("text", ["soon", "", "0 s", "-1", "nan"])
@pytest.mark.parametrize("option", ["--done-within", "--within"])
def test_a_time_that_is_none_is_refused_as_it_was_typed(
    option: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refusal:
        main([*GRPO, f"{option}={text}"])
    assert refusal.value.code == 2
    assert f"{option}: {text!r} is not a time above 0" in " ".join(capsys.readouterr().err.split())


def test_a_time_is_seconds_or_has_a_unit(capsys: pytest.CaptureFixture[str]) -> None:
    words = [*GRPO, "--set", "job.iterations=100", "--done-within"]
    one, other = (answer_of([*words, text], capsys) for text in ("5400", "1.5 h"))
    assert one == other
