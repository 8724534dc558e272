"""Measured rows: what a field must be, and how broken files are refused."""

from pathlib import Path

import pytest

from planner.calibration.rows import Row, RowError, device_of, parse_all, read_rows
from planner.domain.catalog import read_device
from planner.errors import SpecError


def row(**fields: str) -> Row:
    return Row(line=7, fields=fields)


def written(path: Path, text: str) -> Path:
    file = path / "rows.csv"
    file.write_bytes(text.encode())
    return file


def test_rows_carry_their_line_and_fields(tmp_path: Path) -> None:
    rows = read_rows(written(tmp_path, 'm, n,note\n1,2,"a, b"\n\n3,4,\n'), columns=("m", "n"))
    assert [each.line for each in rows] == [2, 4]
    assert rows[0].count("n") == 2
    assert rows[0].text("note") == "a, b"
    assert rows[1].optional_text("note") is None
    assert rows[1].optional_count("absent") is None


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "1e999", "x", "1,5"])
def test_what_is_no_number_above_zero_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(RowError, match=r"line 7: m: expected a number above 0, found"):
        row(m=text).number("m")


def test_whole_numbers_may_be_written_as_floats_but_have_no_fraction() -> None:
    assert row(tp="8.0").count("tp") == 8
    for text in ("1.5", "x", "0", "-8", "inf", "0.5"):
        with pytest.raises(RowError, match=rf"line 7: tp: expected a whole number from 1, found '{text}'"):
            row(tp=text).count("tp")
        with pytest.raises(RowError, match="whole number"):
            row(tp=text).optional_count("tp")


def test_the_mistakes_of_all_rows_are_found_together() -> None:
    rows = [Row(line=line, fields={"m": text}) for line, text in ((2, "1"), (3, "x"), (4, "-2"))]
    with pytest.raises(RowError) as error:
        parse_all(rows, lambda each: each.number("m"))
    assert [mistake[:6] for mistake in error.value.mistakes] == ["line 3", "line 4"]
    assert parse_all(rows[:1], lambda each: each.number("m")) == [1.0]


def test_a_device_comes_from_the_column_then_from_the_command_line() -> None:
    given = read_device("a100-sxm-80gb")
    found = device_of(row(gpu="H100"), "gpu", given)
    assert found is not None
    assert found.name == "h100-sxm-80gb"
    assert device_of(row(gpu=""), "gpu", given) == given
    assert device_of(row(gpu="abacus"), "gpu", given) is None
    with pytest.raises(RowError, match="gpu: expected the name of a device"):
        device_of(row(), "gpu", None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty; expected a header with m, n"),
        ("m,n\n", "has no rows under its header"),
        ("m,nn\n1,2\n", "line 1: lacks the columns 'n'; did you mean 'nn'?"),
        ("m,n,m\n1,2,3\n", "line 1: names the columns 'm' more than once"),
        ("m,n\n1,2\n1\n1,2,3\n", "line 3: expected 2 fields, found 1\n.*line 4: expected 2 fields, found 3"),
        ('m,n\n1,"2\n', "line 2: not a row of a CSV file"),
    ],
)
def test_broken_files_are_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(SpecError, match=words.replace("?", r"\?")):
        read_rows(written(tmp_path, text), columns=("m", "n"))


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read"):
        read_rows(tmp_path / "absent.csv", columns=())
    with pytest.raises(SpecError, match="cannot be read"):
        read_rows(tmp_path, columns=())
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="not a text file in UTF-8"):
        read_rows(tmp_path / "binary.csv", columns=())


def test_many_mistakes_are_counted(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="and 30 mistakes more"):
        read_rows(written(tmp_path, "m,n\n" + "1\n" * 50), columns=("m", "n"))
