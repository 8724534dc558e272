"""Files in and out: what is refused, and what is left as it was."""

import os
from pathlib import Path

import pytest

from planner.domain.text import load_json, load_yaml, refuse_unwritable, write_text
from planner.errors import SpecError


def written(folder: Path, text: str) -> Path:
    path = folder / "file"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": NaN}', "NaN is not a number"),
        ('{"a": -Infinity}', "-Infinity is not a number"),
        ('{"a": 1e999}', "1e999 is not a number"),
        ('{"a": {"b": 1, "b": 2}}', "'b' is given twice"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "not valid JSON"),
    ],
)
def test_json_is_read_as_strictly_as_yaml(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(SpecError, match="not valid JSON") as caught:
        load_json(written(tmp_path, text))
    assert expected in str(caught.value)


@pytest.mark.parametrize("text", ["a: .nan", "a: [-.inf]"])
def test_a_number_that_is_none_is_no_yaml_either(tmp_path: Path, text: str) -> None:
    with pytest.raises(SpecError, match="is not a number"):
        load_yaml(written(tmp_path, text))


def test_a_folder_is_made_and_a_file_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    write_text(path, "one")
    write_text(path, "two")
    assert path.read_text() == "two"
    assert os.listdir(path.parent) == ["file"]


def test_what_a_link_names_is_written_and_the_link_stays(tmp_path: Path) -> None:
    link, target = tmp_path / "link", tmp_path / "target"
    link.symlink_to(target)
    write_text(link, "words")
    assert link.is_symlink()
    assert target.read_text() == "words"


@pytest.mark.parametrize("write", [refuse_unwritable, lambda path: write_text(path, "words")])
def test_what_is_no_file_is_refused_and_left_there(tmp_path: Path, write: object) -> None:
    assert callable(write)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    (tmp_path / "link").symlink_to(fifo)
    file = written(tmp_path, "")
    for path, expected in (
        (tmp_path, "is a folder"),
        (Path(), "is a folder"),
        (fifo, "is not a regular file"),
        (tmp_path / "link", "is not a regular file"),
        (file / "inside" / "plan.json", "is not a folder"),
        (tmp_path / ("x" * 300), "cannot be written"),
    ):
        with pytest.raises(SpecError, match=expected):
            write(path)
    assert fifo.is_fifo()
    assert sorted(os.listdir(tmp_path)) == ["fifo", "file", "link"]
