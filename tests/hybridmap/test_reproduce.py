"""``hybridmap reproduce paper``."""

import json

import pytest

from hybridmap import reproduce
from hybridmap.__main__ import main
from planner.studies.paper.facts import Fact
from planner.studies.paper.tables import Evaluation, Table

FACTS = (
    Fact(source="figure 9", published="runs", ours="fits", holds=True),
    Fact(source="figure 12", published="a", ours="b", holds=False),
)
TABLE = Table(title="facts", columns=("fact", "ours"), rows=(("figure 9", "fits"),))


@pytest.fixture(autouse=True)
def _evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reproduce, "evaluation", lambda: Evaluation(facts=FACTS, tables=(TABLE, TABLE)))


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
