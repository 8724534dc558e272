"""``hybridmap sweep``: its files, its rows whatever the processes, and what an interrupt leaves."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hybridmap.__main__ import main
from hybridmap.journal import NAME
from planner.domain.reading import read_scenario
from planner.domain.sweep import FIGURES
from planner.studies.planning import plan

PAPER = "scenarios/paper/ppo-7b-8.yaml"
PROGRAM = [sys.executable, "-m", "hybridmap"]
NODES = ["--set", "cluster.node_pools.*.nodes=1,2"]
PROMPTS = ["--set", "workload.prompts=256,512"]


@pytest.fixture(scope="module")
def plan_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("plan") / "plan.json"
    assert main(["plan", PAPER, "--out", str(path)]) == 0
    return str(path)


def table_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_sweep_writes_a_table_its_json_and_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", PAPER, *NODES, *PROMPTS, "--workers", "1", "--out", str(tmp_path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer == json.loads((tmp_path / "sweep.json").read_text())
    assert (answer["points"], answer["statuses"], answer["plan"]) == (4, {"optimal": 4}, "best")
    rows = table_of(tmp_path)
    assert list(rows[0]) == [*answer["axes"], "status", *FIGURES, "reason"]
    best = plan(read_scenario(PAPER).model_copy(update={})).plan
    for row, other in zip(rows, answer["rows"], strict=True):
        assert float(row["iteration_seconds"]) == other["figures"]["iteration_seconds"]
        assert float(row["scaling_efficiency"]) == other["scaling_efficiency"]
    assert [row["workload.prompts"] for row in rows] == ["256", "512", "256", "512"]
    assert best.prediction.iteration_seconds not in {float(row["iteration_seconds"]) for row in rows}
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "sweep.svg").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(NAME, "sweep.csv", "sweep.json", "sweep.png", "sweep.svg")
    ]


def test_a_row_is_what_plan_answers_under_the_same_settings(capsys: pytest.CaptureFixture[str]) -> None:
    demands = ["--minimise", "tokens", "--time-model", "period"]
    assert main(["sweep", PAPER, *PROMPTS, *demands, "--workers", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    for row in rows:
        setting = f"workload.prompts={row['settings']['workload.prompts']}"
        assert main(["plan", PAPER, "--set", setting, *demands, "--json"]) == 0
        answer = json.loads(capsys.readouterr().out)
        for name in ("iteration_seconds", "stage_cost_seconds", "tokens_per_second"):
            assert row["figures"][name] == answer[name]


def test_rows_and_pictures_are_the_same_bytes_whatever_the_processes(plan_file: str, tmp_path: Path) -> None:
    for subject in (PAPER, plan_file):
        folders = [tmp_path / Path(subject).name / workers for workers in ("1", "2", "3")]
        for folder in folders:
            options = ["--workers", folder.name, "--out", str(folder), "--set", "workload.epochs=1,2,3"]
            assert main(["sweep", subject, *PROMPTS, *options]) == 0
        for name in ("sweep.csv", "sweep.json", "sweep.png", "sweep.svg"):
            assert len({(folder / name).read_bytes() for folder in folders}) == 1, name


def test_what_does_not_fit_is_a_row_and_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["--set", "cluster.node_pools.*.device=a100-sxm-80gb,a100-sxm-40gb,l40s-48gb"]
    settings += ["--set", "cluster.node_pools.*.devices_per_node=4", "--set", "within=10 s,10 h"]
    assert main(["sweep", PAPER, *settings, "--workers", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["status"] for row in rows if row["settings"]["within"] == "10 s"} == {"infeasible"}
    assert all(row["reason"] for row in rows if row["status"] == "infeasible")
    assert rows[1]["status"] == "optimal"
    assert main(["sweep", PAPER, *settings, "--workers", "1"]) == 0
    assert "infeasible" in capsys.readouterr().out


def test_pins_that_contradict_each_other_are_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["--set", "pin.actor.train.tensor=2,4", "--set", "pin.actor.train=p1t2d4"]
    assert main(["sweep", PAPER, *settings, "--workers", "1", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["rows"]
    assert (first["status"], second["status"]) == ("optimal", "infeasible")
    assert "contradict each other" in second["reason"]


def test_a_plan_is_kept(plan_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "sweep",
        plan_file,
        "--set",
        "workload.prompts=512,1024",
        "--set",
        "cluster.node_pools.*.nodes=1,2",
    ]
    assert main([*words, "--workers", "1", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    made = json.loads(Path(plan_file).read_text())
    assert answer["plan"] == "given"
    same = [row for row in answer["rows"] if row["settings"]["workload.prompts"] == 1024]
    for row in same:
        assert row["status"] == "given"
        assert row["figures"]["iteration_seconds"] == made["prediction"]["iteration_seconds"]
    assert [row["figures"]["cluster_devices"] for row in same] == [8, 16]
    assert [row["scaling_efficiency"] for row in same] == [1.0, 0.5]


def test_no_file_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sweep", "--model", "llama-3.2-1b", "--cluster", "1x2xH100", "--workers", "1", "--json"]
    assert main([*words, "--set", "workload.prompts=64,128", "--placement", "colocate"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["figures"]["placement"] for row in rows} == {"{actor, critic, reference, reward}"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([PAPER, "--set", "workload.promts=1,2"], "did you mean 'prompts'"),
        ([PAPER, "--set", "workload.prompts=256,x"], "found 'x'"),
        ([PAPER, "--set", "workload.prompts"], "write KEY=VALUE"),
        ([PAPER, *PROMPTS, "--y", "tokens_per_secnd"], "did you mean 'tokens_per_second'"),
        ([PAPER, *PROMPTS, "--x", "workload.prompt"], "did you mean 'workload.prompts'"),
        ([PAPER, *PROMPTS, "--out", "README.md"], "cannot be written"),
        ([PAPER, *PROMPTS, "--runnable", "--set", "capabilities=null,runtime"], "contradict each other"),
        (["nowhere.yaml", *PROMPTS], "no such file"),
        ([], "name a scenario file"),
    ],
)
def test_wrong_input_is_refused_before_anything_runs(
    words: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", "--out", str(tmp_path / "out"), *words]) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert "Traceback" not in captured.err
    assert not captured.out
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["sweep", PAPER, *PROMPTS, "--out", ""])
    assert "--out: give a name; it is empty" in capsys.readouterr().err


def test_what_a_plan_is_chosen_by_is_refused_where_one_is_kept(
    plan_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", plan_file, *PROMPTS, "--within", "10"]) == 2
    assert "--within changes a scenario; a plan is made for one already" in capsys.readouterr().err


def test_finished_rows_are_not_computed_again(
    plan_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["sweep", plan_file, *PROMPTS, "--workers", "1", "--out", str(tmp_path), "--json"]
    assert main(words) == 0
    path = tmp_path / NAME
    head, first, _ = path.read_text().splitlines()
    marked: dict[str, Any] = json.loads(first)
    marked["figures"]["devices"] = 12345
    path.write_text(f"{head}\n{json.dumps(marked)}\n" + '{"point":1,"sett')
    capsys.readouterr()
    assert main(words) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["figures"]["devices"] for row in rows] == [12345, 8]
    assert main([*words, "--fresh"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["figures"]["devices"] for row in rows] == [8, 8]


def test_measured_seconds_of_a_plan_are_said_to_be_left_out(
    plan_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value = json.loads(Path(plan_file).read_text())
    value["prediction"]["calls"]["actor.generate"]["origin"] = "measured"
    path = tmp_path / "measured.json"
    path.write_text(json.dumps(value))
    assert main(["sweep", str(path), "--workers", "1"]) == 0
    assert "made from measurements" in capsys.readouterr().err
    assert main(["sweep", plan_file, "--workers", "1"]) == 0
    assert "made from measurements" not in capsys.readouterr().err


def test_what_cannot_be_drawn_leaves_no_picture_of_another_sweep(
    plan_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["sweep", plan_file, "--workers", "1", "--out", str(tmp_path)]
    assert main([*base, *PROMPTS]) == 0
    assert (tmp_path / "sweep.png").exists()
    assert main([*base, *PROMPTS, "--y", "send_seconds"]) == 0
    assert "no picture is drawn: no row has send seconds" in capsys.readouterr().err
    assert not (tmp_path / "sweep.png").exists()


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (["--set", "workload.prompts=256,1024"], "other values of --set"),
        ([*PROMPTS, "--seed", "7"], "other solver or seed"),
        ([*PROMPTS, "--staleness", "1"], "other scenario"),
    ],
)
def test_another_sweeps_journal_is_refused(
    changed: list[str], expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["--workers", "1", "--out", str(tmp_path)]
    assert main(["sweep", PAPER, *PROMPTS, *base]) == 0
    before = (tmp_path / "sweep.csv").read_bytes()
    assert main(["sweep", PAPER, *changed, *base]) == 2
    assert expected in capsys.readouterr().err
    assert (tmp_path / "sweep.csv").read_bytes() == before


def test_a_changed_scenario_is_another_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    text = Path(PAPER).read_text()
    path.write_text(text)
    words = ["sweep", str(path), *PROMPTS, "--workers", "1", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    path.write_text(text.replace("epochs: 1", "epochs: 2"))
    assert main(words) == 2
    assert "other scenario" in capsys.readouterr().err


def started(words: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*PROGRAM, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def rows_in(folder: Path) -> int:
    path = folder / NAME
    return path.read_bytes().count(b"\n") - 1 if path.exists() else 0


def wait_for_rows(folder: Path, count: int, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 120
    while rows_in(folder) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def children_of(number: int) -> list[int]:
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(number)], capture_output=True, text=True, check=False
    )
    return [int(word) for word in found.stdout.split()]


def is_running(number: int) -> bool:
    status = Path(f"/proc/{number}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_a_kill_keeps_finished_rows_and_the_same_command_goes_on(
    kind: signal.Signals, plan_file: str, tmp_path: Path
) -> None:
    epochs = ",".join(map(str, range(1, 81)))
    sweep = ["sweep", plan_file, *PROMPTS, "--set", f"workload.epochs={epochs}"]
    words = [*sweep, "--workers", "2", "--out", str(tmp_path / "out")]
    process = started(words)
    wait_for_rows(tmp_path / "out", 5, process)
    children = children_of(process.pid)
    assert children
    os.kill(process.pid, kind) if kind == signal.SIGKILL else os.killpg(process.pid, kind)
    _, err = process.communicate(timeout=60)
    kept = (tmp_path / "out" / NAME).read_bytes()
    finished = kept.count(b"\n") - 1
    assert 5 <= finished < 160
    if kind == signal.SIGINT:
        assert process.returncode == 130
        assert f"{finished} of 160 rows are kept" in err
        assert "Traceback" not in err
    deadline = time.monotonic() + 60
    while any(map(is_running, children)):
        assert time.monotonic() < deadline, "a worker outlives the sweep"
        time.sleep(0.05)
    assert not (tmp_path / "out" / "sweep.csv").exists()
    assert main(words) == 0
    assert (tmp_path / "out" / NAME).read_bytes().startswith(kept[: kept.rindex(b"\n") + 1])
    assert rows_in(tmp_path / "out") == 160
    assert main([*sweep, "--workers", "1", "--out", str(tmp_path / "whole")]) == 0
    for name in ("sweep.csv", "sweep.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_killed_worker_is_said_and_its_sweep_goes_on_later(plan_file: str, tmp_path: Path) -> None:
    epochs = ",".join(map(str, range(1, 81)))
    words = ["sweep", plan_file, *PROMPTS, "--set", f"workload.epochs={epochs}", "--workers", "2"]
    process = started([*words, "--out", str(tmp_path)])
    wait_for_rows(tmp_path, 5, process)
    busiest = max(children_of(process.pid), key=_cpu_ticks)
    os.kill(busiest, signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "was killed" in err
    assert "Traceback" not in err
    assert rows_in(tmp_path) >= 5
    assert main([*words, "--out", str(tmp_path)]) == 0
    assert len(table_of(tmp_path)) == 160


def _cpu_ticks(number: int) -> int:
    fields = Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])
