"""``hybridmap reproduce paper``."""

import csv
import json
from pathlib import Path

import pytest

from hybridmap import reproduce
from hybridmap.__main__ import main
from planner.studies.paper.facts import Fact
from planner.studies.paper.generation import Bar
from planner.studies.paper.searches import Search
from planner.studies.paper.tables import Evaluation, Measures, Table
from planner.studies.paper.throughput import comparison
from planner.studies.paper.transitions import transitions

FACTS = (
    Fact(source="figure 9", published="runs", ours="fits", holds=True),
    Fact(source="figure 12", published="a", ours="b", holds=False),
)
TABLE = Table(title="facts", columns=("fact", "ours"), rows=(("figure 9", "fits"),))


@pytest.fixture(autouse=True)
def _evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Evaluation(facts=FACTS, tables=(TABLE, TABLE))
    monkeypatch.setattr(reproduce, "evaluation", lambda watch, workers: found)


def test_tables_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "paper"]) == 0
    assert "figure 9" in capsys.readouterr().out


def test_markdown_is_what_the_docs_keep(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "paper", "--markdown"]) == 0
    table = "| fact | ours |\n| --- | --- |\n| figure 9 | fits |"
    assert capsys.readouterr().out == f"{table}\n\n{table}\n"


def test_json_counts_what_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "paper", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["held"], len(answer["facts"])) == (1, 2)
    assert answer["tables"][0]["rows"] == [["figure 9", "fits"]]


def test_tables_are_written_in_every_form(tmp_path: Path) -> None:
    out = tmp_path / "new" / "folder"
    assert main(["reproduce", "paper", "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {"facts.csv", "paper.json", "paper.md"}
    assert list(csv.reader((out / "facts.csv").open())) == [["fact", "ours"], ["figure 9", "fits"]]
    assert json.loads((out / "paper.json").read_text())["held"] == 1
    assert "1 of 2 facts hold" in (out / "paper.md").read_text()


def test_figures_are_drawn_from_what_was_measured(tmp_path: Path) -> None:
    compared = (comparison("ppo", "7b", 16),)
    measures = Measures(
        comparisons=compared,
        transitions=tuple(transitions(compared)),
        generation=(Bar(tensor=2, seconds=80.0, transition_seconds=3.0, max_sequences=64),),
        searches=(Search(size="7b", devices=16, published=30, seconds=0.5),),
    )
    reproduce.write_evaluation(Evaluation(facts=FACTS, tables=(TABLE,), measures=measures), tmp_path)
    names = {"figure-9-ppo", "figure-14-transitions", "figure-15-generation", "figure-16-searches"}
    for name in names:
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "</svg>" in (tmp_path / f"{name}.svg").read_text()
        assert f"{name}.png" in (tmp_path / "paper.md").read_text()
    assert "DeepSpeed-Chat as shipped" in (tmp_path / "figure-9-ppo.svg").read_text()


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reproduce, "evaluation", lambda watch, workers: pytest.fail("worked for nothing"))
    (tmp_path / "file").write_text("kept")
    assert main(["reproduce", "paper", "--out", str(tmp_path / "file")]) == 2
    assert "is not a folder" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "kept"
