"""The program as a process: how it is left, and how soon it answers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hybridmap.__main__ import main

PAPER = "scenarios/paper/ppo-7b-8.yaml"
PROGRAM = [sys.executable, "-m", "hybridmap"]
COMMANDS = [
    "plan",
    "simulate",
    "explain",
    "sweep",
    "diff",
    "run",
    "profile",
    "compare",
    "validate",
    "reproduce",
    "list",
    "new",
]


@pytest.mark.parametrize("words", [["--solver", "magic"], ["--seed", "x"], ["--unknown"]])
def test_a_wrong_option_is_answered_in_json_as_well(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["plan", PAPER, *words, "--json"])
    assert caught.value.code == 2
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    assert answer["status"] == "wrong input"
    assert answer["reason"].startswith("command line: ")
    assert captured.err == f"error: {answer['reason']}\n"


def test_help_lists_every_command_and_needs_no_planner() -> None:
    code = (
        "import sys; from hybridmap.__main__ import main\n"
        "try: main(['--help'])\n"
        "finally: print(*sorted(each for each in sys.modules if each in "
        "('ortools', 'numpy', 'pydantic', 'rich', 'scipy')))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == ""
    for command in COMMANDS:
        assert f"\n    {command}" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_is_listed_has_help_of_its_own(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])
    assert left.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: hybridmap {command} ")


def test_an_interrupt_is_said_while_a_command_is_still_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hybridmap.__main__.import_module", interrupted)
    assert main(["plan", PAPER]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_an_interrupt_after_a_solve_is_one(tmp_path: Path) -> None:
    code = (
        "import os, signal, planner\n"
        f"planner.plan(planner.read_scenario('{PAPER}'))\n"
        "try: os.kill(os.getpid(), signal.SIGINT)\n"
        "except KeyboardInterrupt: print('interrupted')"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "interrupted\n")


def test_an_answer_that_nobody_can_read_is_a_failure_in_one_line(tmp_path: Path) -> None:
    closed = subprocess.run(
        [*PROGRAM, "list", "devices"],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        preexec_fn=lambda: os.close(1),
    )
    assert (closed.returncode, closed.stderr) == (
        1,
        "failed: the answer cannot be written: standard output is closed\n",
    )


@pytest.mark.parametrize("words", [["devices"], ["devices", "--json"]])
def test_a_full_disk_is_a_failure_in_one_line(words: list[str], tmp_path: Path) -> None:
    command = f"ulimit -f 0; {sys.executable} -m hybridmap list {' '.join(words)} > {tmp_path / 'full'}"
    full = subprocess.run(["bash", "-c", command], stderr=subprocess.PIPE, text=True, check=False)
    assert full.returncode == 1
    assert full.stderr.splitlines()[-1] == "failed: the answer cannot be written: File too large"
    assert "Traceback" not in full.stderr


def test_another_file_that_fails_is_named_and_answered_in_json_as_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*given: object) -> None:
        raise PermissionError(13, "Permission denied", "/somewhere/metrics.jsonl")

    monkeypatch.setattr("hybridmap.screen.show", fails)
    assert main(["list", "devices", "--json"]) == 1
    said = capsys.readouterr()
    assert said.err == "failed: [Errno 13] Permission denied: '/somewhere/metrics.jsonl'\n"
    assert json.loads(said.out) == {"status": "failed", "reason": said.err.removeprefix("failed: ").strip()}


def test_a_reader_that_leaves_is_no_error_to_speak_of() -> None:
    command = f"{sys.executable} -m hybridmap new | true; exit ${{PIPESTATUS[0]}}"
    left = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (left.returncode, left.stderr) == (1, "")
