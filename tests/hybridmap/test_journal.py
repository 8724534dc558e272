"""The journal of a sweep: what it keeps, and what it refuses."""

from pathlib import Path

import pytest

from hybridmap.journal import NAME, digest_of, journal, program
from planner.domain.sweep import Row
from planner.errors import SpecError

SUBJECT = {"scenario": "a", "program": "b"}
ROWS = [Row(point=point, settings={"prompts": 2**point}, status="refused", reason="ä") for point in (2, 0, 1)]


def kept(folder: Path, subject: dict[str, str] = SUBJECT, *, is_fresh: bool = False) -> dict[int, Row]:
    with journal(folder, subject, is_fresh=is_fresh) as opened:
        return opened.rows


def fill(folder: Path) -> Path:
    with journal(folder, SUBJECT, is_fresh=False) as opened:
        for row in ROWS:
            opened.append(row)
    return folder / NAME


def test_rows_come_back_whatever_their_order(tmp_path: Path) -> None:
    fill(tmp_path / "new")
    assert kept(tmp_path / "new") == {row.point: row for row in ROWS}


def test_a_row_is_in_the_file_before_the_next_one_is_made(tmp_path: Path) -> None:
    with journal(tmp_path, SUBJECT, is_fresh=False) as opened:
        for count, row in enumerate(ROWS, start=1):
            opened.append(row)
            assert len((tmp_path / NAME).read_bytes().splitlines()) == 1 + count


def test_a_torn_last_line_is_dropped_wherever_it_was_torn(tmp_path: Path) -> None:
    whole = fill(tmp_path).read_bytes()
    head, *lines = whole.splitlines(keepends=True)
    for length in range(len(head) + 1, len(whole)):
        (tmp_path / NAME).write_bytes(whole[:length])
        complete = whole[:length].count(b"\n") - 1
        assert kept(tmp_path) == {row.point: row for row in ROWS[:complete]}
        assert (tmp_path / NAME).read_bytes() == b"".join([head, *lines[:complete]])


def test_what_was_torn_before_any_row_is_begun_again(tmp_path: Path) -> None:
    whole = fill(tmp_path).read_bytes()
    head = whole.splitlines(keepends=True)[0]
    for length in range(len(head)):
        (tmp_path / NAME).write_bytes(head[:length])
        assert kept(tmp_path) == {}
        assert (tmp_path / NAME).read_bytes() == head


def test_another_sweeps_rows_are_refused_by_what_differs_and_left_as_they_are(tmp_path: Path) -> None:
    path = fill(tmp_path)
    before = path.read_bytes()
    with pytest.raises(SpecError, match=r"rows of another sweep: other scenario; .*--fresh"):
        kept(tmp_path, {**SUBJECT, "scenario": "other"})
    with pytest.raises(SpecError, match="other scenario;"):
        kept(tmp_path, {"scenario": "x", "program": "y"})
    assert path.read_bytes() == before


def test_fresh_drops_what_is_there(tmp_path: Path) -> None:
    fill(tmp_path)
    assert kept(tmp_path, {"scenario": "other"}, is_fresh=True) == {}
    assert kept(tmp_path, {"scenario": "other"}) == {}


@pytest.mark.parametrize("content", [b"somebody's data", b"1\n2\n", b"[]\n", b'{"a": 1}\n'])
def test_a_file_that_is_no_journal_is_left_alone(content: bytes, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(SpecError, match=r"rows\.jsonl"):
        kept(tmp_path)
    assert (tmp_path / NAME).read_bytes() == content


def test_a_broken_line_between_others_is_named(tmp_path: Path) -> None:
    path = fill(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"{}\n", *lines[2:]]))
    with pytest.raises(SpecError, match=r"rows\.jsonl:2: is no row of a sweep"):
        kept(tmp_path)


def test_two_sweeps_do_not_write_into_one_journal(tmp_path: Path) -> None:
    with (
        journal(tmp_path, SUBJECT, is_fresh=False),
        pytest.raises(SpecError, match="another sweep writes here"),
    ):
        kept(tmp_path)
    assert kept(tmp_path) == {}


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match="cannot be written"):
        kept(tmp_path / "file")


def test_digests_tell_values_apart_and_nothing_else() -> None:
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": [2], "a": 1}) != digest_of({"a": 1, "b": [3]})
    assert program() == program()
