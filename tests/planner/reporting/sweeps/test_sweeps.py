"""Rows of a sweep as text and as pictures."""

import csv
import io
import re
from itertools import product
from typing import Any

import pytest
from rich.console import Console

from planner.domain.sweep import FIGURES, NUMBERS, Figures, Row, figure
from planner.reporting.figures.sweeps import sweep_pictures
from planner.reporting.sweeps.tables import csv_text, sweep_table

NODES = "cluster.node_pools.*.nodes"


def row_of(point: int, settings: dict[str, Any], *, price: float | None = None) -> Row:
    devices = 8 * int(settings.get(NODES, 1))
    figures = Figures(
        iteration_seconds=100 / devices + 1 / 3,
        stage_cost_seconds=0.1 + 0.2,
        tokens_per_second=1000.0 * devices**0.9,
        dollars_per_million_tokens=price,
        cluster_devices=devices,
        devices=devices,
        placement="{actor, critic}",
        generation_seconds=1.0,
        preparation_seconds=2.0,
        training_seconds=3.0,
        send_seconds=None,
        receive_seconds=None,
    )
    return Row(point=point, settings=settings, status="optimal", figures=figures, scaling_efficiency=0.5)


def simulated(row: Row) -> Row:
    """The same row with what playing the plan says."""
    figures = {
        "simulated_seconds": 13.0,
        "simulated_tokens_per_second": 900.0,
        "tail_seconds": 0.5,
        "idle_share": 0.25,
        "job_hours": 1.5,
        "job_dollars": 4.0,
    }
    assert row.figures is not None
    return row.model_copy(update={"figures": row.figures.model_copy(update=figures)})


def grid(**values: list[Any]) -> tuple[list[Row], dict[str, list[Any]]]:
    named = {key.replace("nodes", NODES): each for key, each in values.items()}
    points = [dict(zip(named, picked, strict=True)) for picked in product(*named.values())]
    return [row_of(number, settings) for number, settings in enumerate(points)], named


def text_of(rows: list[Row], keys: list[str], width: int = 120) -> str:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(sweep_table(rows, keys=keys, title="title"))
    return capture.get()


def test_a_table_of_commas_is_read_as_the_same_numbers() -> None:
    rows, named = grid(nodes=[1, 2], lengths=[{"mean": 5, "maximum": 9}, "a, b"])
    failed = Row(point=4, settings=rows[0].settings, status="refused", reason='no "plan", at all')
    read = list(csv.DictReader(io.StringIO(csv_text([*rows, failed]))))
    assert list(read[0]) == [*named, "status", *FIGURES, "reason"]
    for row, found in zip(rows, read, strict=False):
        assert row.figures is not None
        for name in Figures.model_fields:
            value = getattr(row.figures, name)
            expected = "" if value is None else value
            assert found[name] == expected if isinstance(expected, str) else float(found[name]) == expected
    assert read[0]["lengths"] == '{"mean": 5, "maximum": 9}'
    assert read[1]["lengths"] == "a, b"
    assert read[4]["reason"] == failed.reason
    assert {read[4][name] for name in FIGURES} == {""}


def test_nothing_is_a_table_too() -> None:
    assert csv_text([]).startswith("status,iteration_seconds")


def test_the_terminals_table_names_keys_shortly_and_shows_why_a_row_has_no_plan() -> None:
    rows, named = grid(nodes=[1, 2])
    failed = Row(point=2, settings={NODES: 4}, status="infeasible", reason="too large; and worse")
    text = text_of([*rows, failed], list(named))
    for words in ("nodes", "scaling", "50 %", "{actor, critic}", "infeasible", "too large; ..."):
        assert words in text
    assert "$/M tokens" not in text
    assert "and worse" not in text
    assert "$/M tokens" in text_of([row_of(0, {NODES: 1}, price=0.25)], list(named))


def test_what_a_simulation_says_has_columns_where_there_is_one() -> None:
    rows, named = grid(nodes=[1, 2])
    text = text_of([simulated(rows[0]), rows[1]], list(named))
    for words in ("simulated", "13.0 s", "tail", "500 ms", "job", "1.50 h"):
        assert words in text
    assert "simulated" not in text_of(rows, list(named))
    assert "job" not in text_of(rows, list(named))


def test_of_very_many_rows_the_first_are_shown() -> None:
    rows, named = grid(nodes=list(range(1, 101)))
    assert "50 more; --out writes all" in text_of(rows, list(named))


def texts_of(svg: bytes) -> list[str]:
    return re.findall(r">([^<>]+)</text>", svg.decode())


def test_pictures_are_the_same_bytes_for_the_same_rows() -> None:
    rows, named = grid(nodes=[1, 2, 4], epochs=[1, 2])
    one, two = (sweep_pictures(rows, named, y="tokens_per_second", title="title") for _ in range(2))
    assert one == two
    assert one["png"].startswith(b"\x89PNG")
    assert set(one) == {"png", "svg"}


def test_a_picture_names_its_keys_and_draws_what_devices_promise() -> None:
    rows, named = grid(nodes=[1, 2, 4], epochs=[1, 2], seed=[7, 8])
    texts = texts_of(sweep_pictures(rows, named, y="tokens_per_second", title="my title")["svg"])
    for words in ("nodes", "tokens per second", "epochs 1", "epochs 2", "seed 7", "seed 8", "my title"):
        assert words in texts
    assert "ideal: as the devices" in texts
    other = texts_of(sweep_pictures(rows, named, y="scaling_efficiency", title="")["svg"])
    assert "ideal: as the devices" not in other


def test_panels_show_what_colours_and_styles_cannot() -> None:
    rows, named = grid(nodes=[1, 2, 4, 8, 16], epochs=[1, 2, 3], seed=[7, 8, 9], x=[1, 2])
    texts = texts_of(sweep_pictures(rows, named, y="iteration_seconds", title="")["svg"])
    assert {"x 1", "x 2", "seconds per iteration"} <= set(texts)


@pytest.mark.parametrize("y", NUMBERS)
def test_every_number_can_be_drawn_or_it_is_said_why_not(y: str) -> None:
    rows, named = grid(nodes=[1, 4, 16])
    rows = [simulated(row) for row in rows]
    if any(figure(row, y) is None for row in rows):
        with pytest.raises(ValueError, match="no row has"):
            sweep_pictures(rows, named, y=y, title="")
    else:
        assert sweep_pictures(rows, named, y=y, title="")["svg"]


def test_rows_without_figures_leave_gaps() -> None:
    rows, named = grid(nodes=[1, 2, 4], algorithm=["ppo", "grpo"])
    rows[2] = Row(point=2, settings=rows[2].settings, status="infeasible", reason="why")
    texts = texts_of(sweep_pictures(rows, named, y="tokens_per_second", title="")["svg"])
    assert {"algorithm ppo", "algorithm grpo"} <= set(texts)
    with pytest.raises(ValueError, match="no row has"):
        sweep_pictures(
            [Row(point=0, settings=row.settings, status="refused") for row in rows],
            named,
            y="tokens_per_second",
            title="",
        )


def test_a_long_setting_goes_on_in_the_next_line_and_leaves_room_for_figures() -> None:
    long = {"iterations": 10, "failures": {"mean_time_between": "1 s", "restart": "1 s"}, "more": "x" * 60}
    rows, named = grid(nodes=[1, 2], job=[long, {"iterations": 5}])
    text = text_of(rows, list(named))
    assert "{actor, critic}" in text
    assert "iteration" in text
