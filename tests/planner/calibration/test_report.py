"""The page of error tables: filled from a template, from records and from whole files."""

import re
from pathlib import Path

import pytest

from planner.calibration import report
from planner.calibration.report import Aim, aims_table, files_table, markdown, shipped_records, write_report
from planner.domain.fits import FitRecord, Residuals
from planner.errors import SpecError

GOOD = Residuals(rows=1200, mape=0.04, p90=0.11, low=-0.1, high=0.12, shared=0.03, own=0.05, coverage=0.91)
RECORD = FitRecord(source="a lab", date="2026-11-20", rows=5000, held_out=GOOD, parts={"large": GOOD})


def test_places_are_filled_and_the_rest_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "shipped_records", lambda: [("toy.gemm", RECORD)])
    template = tmp_path / "page.in.md"
    template.write_text("# Page\n\n{{records}}\n\nIn words: {{repeated}}, {{versions}}.\n")
    write_report(tmp_path, tmp_path / "page.md", template=template)
    page = (tmp_path / "page.md").read_text()
    assert page.startswith("# Page\n\n| fit |")
    assert "| toy.gemm | 5,000 | 1,200 | 4.0 % | 11.0 % | -9.5 to +12.7 % | 91.0 % | 3.0 % | 5.0 % |" in page
    assert "-5 to +5 %, 20" in page
    assert "{{" not in page


def test_a_place_that_there_is_no_table_for_is_named(tmp_path: Path) -> None:
    template = tmp_path / "page.in.md"
    template.write_text("{{recods}}")
    with pytest.raises(SpecError, match="no table recods"):
        write_report(tmp_path, tmp_path / "page.md", template=template)
    assert not (tmp_path / "page.md").exists()


@pytest.mark.parametrize(
    ("mape", "p90", "reached"), [(0.05, 0.12, "yes"), (0.03, 0.12, "no"), (0.05, 0.1, "no")]
)
def test_an_aim_is_reached_by_all_its_figures(
    monkeypatch: pytest.MonkeyPatch, mape: float, p90: float, reached: str
) -> None:
    name, part = re.compile(r".*\.gemm"), re.compile("la.*")
    aim = Aim(quantity="large", pattern=name, part=part, mape=mape, p90=p90)
    monkeypatch.setattr(report, "AIMS", (aim,))
    monkeypatch.setattr(report, "shipped_records", lambda: [("toy.gemm", RECORD), ("toy.other", RECORD)])
    assert [line.split(" | ")[-1] for line in aims_table().splitlines()[2:]] == [f"{reached} |"]


def test_the_shipped_page_names_only_tables_that_there_are(tmp_path: Path) -> None:
    assert set(re.findall(r"\{\{(\w+)\}\}", report.TEMPLATE.read_text())) <= set(report.tables_of(tmp_path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"\.csv: cannot be read: No such file"):
        files_table(tmp_path)


def test_every_shipped_record_says_how_it_holds() -> None:
    for name, record in shipped_records():
        assert record.source, name
        assert record.held_out.rows, name
        assert record.held_out.low < record.held_out.high, name


def test_cells_stand_between_bars() -> None:
    assert markdown(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
