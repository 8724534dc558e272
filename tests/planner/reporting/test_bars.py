"""The figures of a paper's evaluation."""

from pathlib import Path

from planner.reporting.figures.bars import Panel, Picture, write_picture


def picture(**changes):
    first = Panel(title="7b", ticks=("8", "16"), series={"a": (1.0, 2.0), "b": (3.0, None)})
    second = Panel(title="13b", ticks=("16", "32"), series={"a": (1.0, 2.0)})
    fields = {"name": "figure", "title": "two sizes", "across": "devices", "up": "seconds"}
    return Picture(panels=(first, second), **fields, **changes)


def written(folder: Path, **changes) -> list[bytes]:
    return [path.read_bytes() for path in write_picture(picture(**changes), folder)]


def test_the_same_picture_is_the_same_bytes(tmp_path):
    png, svg = written(tmp_path / "one")
    assert png.startswith(b"\x89PNG")
    assert b"<svg" in svg
    assert written(tmp_path / "other") == [png, svg]


def test_a_stack_has_nothing_where_a_series_is_missing(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "matplotlib.axes.Axes.bar", lambda self, places, heights, *rest, **options: drawn.append(heights)
    )
    monkeypatch.setattr("planner.reporting.figures.bars._legend", lambda grid: ([], []))
    monkeypatch.setattr("matplotlib.figure.Figure.legend", lambda self, *rest, **options: None)
    write_picture(picture(is_stacked=True), tmp_path)
    assert drawn == [[1.0, 2.0], [3.0, 0.0], [1.0, 2.0], [0.0, 0.0]]
