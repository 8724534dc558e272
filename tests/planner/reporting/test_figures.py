"""What is drawn where, that it can be read, and that the same figure is the same file."""

import warnings
from collections.abc import Callable, Sequence
from itertools import combinations, pairwise
from pathlib import Path

import pytest
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.mathtext import MathTextParser
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from planner.domain.plan import Plan
from planner.domain.simulated import Simulation
from planner.domain.timeline import Span, Timeline
from planner.errors import SpecError
from planner.reporting.figures import write_timeline_figure
from planner.reporting.figures.gantt import timeline_strip
from planner.reporting.figures.generation import comparison_strips, generation_strips, tail_labels
from planner.reporting.figures.memory import memory_strips
from planner.reporting.figures.palette import BLUE, GREEN, ORANGE, RED, tinted
from planner.reporting.figures.sheet import DRAWN, STYLE, Strip, sheet, spread, text_inches
from planner.reporting.simulation_figures import write_generation_figure, write_simulation_figure

Build = Callable[[int], Simulation]
BEGINNINGS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def drawn(strip: Strip) -> Axes:
    """One strip in a figure of its own."""
    figure = Figure()
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    strip.draw(axes)
    return axes


def boxes(axes: Axes, colour: str) -> list[tuple[float, float, float, float]]:
    """Left, right, bottom and top of the filled rectangles of a colour; an axis may count downwards."""
    return [
        (box.get_x(), box.get_x() + box.get_width(), box.get_y(), box.get_y() + box.get_height())
        for box in axes.patches
        if isinstance(box, Rectangle) and to_hex(box.get_facecolor()) == colour and not box.get_hatch()
    ]


def seconds_of(found: Sequence[tuple[float, float, float, float]]) -> list[tuple[float, float]]:
    return [(left, right) for left, right, _, _ in found]


def test_each_span_is_a_bar_at_its_seconds_in_its_kinds_colour(two_pools: Plan, simulated: Build) -> None:
    timeline = simulated(1).timeline
    axes = drawn(timeline_strip(timeline, end_s=10.0, plan=two_pools))
    assert seconds_of(boxes(axes, BLUE)) == [(1.0, 5.0)]
    assert seconds_of(boxes(axes, GREEN)) == [(5.0, 6.0), (5.0, 7.0)]
    assert seconds_of(boxes(axes, ORANGE)) == [(7.0, 10.0), (7.0, 9.0)]
    assert seconds_of(boxes(axes, RED)) == [(0.0, 1.0)]


def test_roles_of_one_pool_have_lanes_of_their_own(two_pools: Plan, simulated: Build) -> None:
    axes = drawn(timeline_strip(simulated(1).timeline, end_s=10.0, plan=two_pools))
    ((*_, low, high),) = boxes(axes, BLUE)
    reference, critic = ((low, high) for *_, low, high in boxes(axes, GREEN))
    assert low < high < reference[0] < reference[1] < critic[0]


def test_a_pool_is_hatched_where_it_runs_nothing(two_pools: Plan, simulated: Build) -> None:
    axes = drawn(timeline_strip(simulated(1).timeline, end_s=10.0, plan=two_pools))
    hatched = [box for box in axes.patches if box.get_hatch()]
    assert [(box.get_x(), box.get_x() + box.get_width()) for box in hatched] == [
        (6.0, 7.0),
        (0.0, 5.0),
        (9.0, 10.0),
    ]


def test_calls_are_named_in_their_bars_or_beside_them_where_the_lane_is_free(
    two_pools: Plan, simulated: Build
) -> None:
    one = drawn(timeline_strip(simulated(1).timeline, end_s=10.0, plan=two_pools))
    places = {text.get_text(): text.get_position()[0] for text in one.texts}
    assert places["generate"] == 3.0
    assert places["reshard"] == 0.5
    many = drawn(timeline_strip(simulated(3).timeline, end_s=30.0, plan=two_pools))
    found = {text.get_text(): text.get_position()[0] for text in many.texts}
    assert found["0 · generate"] == 3.0
    assert "0 · logprobs" not in found  # it would lie upon the hatched second after it


def test_a_short_call_is_named_beside_its_bar_while_another_role_has_the_pool() -> None:
    spans = (
        Span(
            pool="pool",
            role="reward",
            call="reward.scores",
            kind="infer",
            iteration=0,
            start_s=0.0,
            end_s=1.0,
        ),
        Span(
            pool="pool",
            role="actor",
            call="actor.update",
            kind="train",
            iteration=0,
            start_s=1.0,
            end_s=40.0,
        ),
    )
    axes = drawn(timeline_strip(Timeline(origin="predicted", spans=spans), end_s=40.0))
    (place,) = (text.get_position()[0] for text in axes.texts if text.get_text() == "scores")
    assert 1.0 < place < 2.0


def test_every_second_iteration_is_lighter_and_all_have_a_bar_of_their_own(
    two_pools: Plan, simulated: Build
) -> None:
    axes = drawn(timeline_strip(simulated(4).timeline, end_s=40.0, plan=two_pools))
    assert seconds_of(boxes(axes, BLUE)) == [(1.0, 5.0), (21.0, 25.0)]
    assert seconds_of(boxes(axes, tinted(BLUE, 0.5))) == [(11.0, 15.0), (31.0, 35.0)]
    whole = boxes(axes, "#6b6b6b") + boxes(axes, "#b3b3b3")
    assert sorted(seconds_of(whole)) == [(0.0, 10.0), (10.0, 20.0), (20.0, 30.0), (30.0, 40.0)]


def test_iterations_that_overlap_are_one_above_the_other() -> None:
    timeline = Timeline(
        origin="predicted",
        spans=tuple(
            Span(
                pool="pool",
                role="actor",
                call="actor.update",
                kind="train",
                iteration=index,
                start_s=index,
                end_s=index + 1.5,
            )
            for index in range(3)
        ),
    )
    axes = drawn(timeline_strip(timeline, end_s=3.5))
    (_, _, first, _), (_, _, third, _) = boxes(axes, "#6b6b6b")
    ((_, _, second, _),) = boxes(axes, "#b3b3b3")
    assert first == third < second


def test_memory_stacks_what_calls_take_upon_what_stays(two_pools: Plan, simulated: Build) -> None:
    actor, critic = (drawn(strip) for strip in memory_strips(simulated(1).timeline, two_pools, end_s=10.0))
    assert boxes(actor, GREEN) == [(0.0, 5.0, 30.0, 34.0)]
    assert boxes(actor, tinted(BLUE, 0.62)) == [(0.0, 5.0, 34.0, 74.0)]
    assert boxes(actor, ORANGE) == [(7.0, 10.0, 30.0, 60.0)]
    assert boxes(critic, ORANGE) == [(5.0, 7.0, 5.0, 6.0), (7.0, 9.0, 5.0, 8.0)]
    assert boxes(critic, RED) == [(7.0, 9.0, 8.0, 9.0)]


def test_usable_memory_is_a_line_and_the_peak_is_said(two_pools: Plan, simulated: Build) -> None:
    strips = memory_strips(simulated(1).timeline, two_pools, end_s=10.0)
    usable = two_pools.scenario.cluster.node_pool("a100").device.usable_memory / 2**30
    lines = [line for line in drawn(strips[0]).lines if line.get_linestyle() == "--"]
    assert [line.get_ydata()[0] for line in lines] == [pytest.approx(usable)]
    assert strips[0].label == "pool-0, 8 × a100: at most 74.0 GiB of 76.0 GiB (97 %)"
    assert "at most 9.00 GiB" in strips[1].label


def test_the_cache_fills_as_its_generation_says(two_pools: Plan, simulated: Build) -> None:
    simulation = simulated(1)
    strip = memory_strips(simulation.timeline, two_pools, simulation.generation, end_s=10.0)[0]
    (held,) = (line for line in drawn(strip).lines if to_hex(line.get_color()) == BLUE)
    assert list(held.get_xdata()) == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert list(held.get_ydata()) == [44.0, 54.0, 54.0, 44.0, 44.0]


def test_generations_lie_where_their_spans_do_with_their_tails(simulated: Build) -> None:
    simulation = simulated(2)
    tokens, running, cache = (
        drawn(strip) for strip in generation_strips(simulation.timeline, simulation.generation, end_s=20.0)
    )
    for axes, top in ((tokens, 200.0), (running, 8.0), (cache, 50.0)):
        first, second = (each.get_paths()[0].get_extents() for each in axes.collections)
        assert (first.x0, first.x1, first.y1) == (1.0, 5.0, top)
        assert (second.x0, second.x1, second.y1) == (11.0, 15.0, top)
    assert [line.get_xdata()[0] for line in running.lines] == [3.0, 4.5, 5.0, 5.0, 13.0, 14.5, 15.0, 15.0]
    assert [text.get_text() for text in running.texts][:2] == ["50", "90–100"]


def test_marks_that_would_lie_upon_each_other_have_one_label() -> None:
    assert list(tail_labels([{"50": 5.0, "90": 5.0}], 10.0)) == [("50–90", 5.0)]
    assert list(tail_labels([{"50": 1.0, "90": 9.0}], 10.0)) == [("50", 1.0), ("90", 9.0)]


def test_labels_of_two_generations_leave_room_for_each_other() -> None:
    found = list(tail_labels([{"100": 50.0}, {"100": 52.0}, {"100": 90.0}, {"100": 0.0}], 100.0))
    (first, second, third, fourth) = (middle for _, middle in found)
    assert first > 0.0
    assert (second, fourth) == (50.0, 90.0)
    assert third - second > text_inches("100", 6) / DRAWN * 100.0
    assert len(list(tail_labels([{"100": 50.0}] * 9, 100.0))) == 1


def test_compared_generations_all_begin_at_zero(simulated: Build) -> None:
    strips = comparison_strips(simulated(3).generation)
    assert [word for _, word in strips[0].keys] == [f"iteration {index}: 4.00 s" for index in range(3)]
    for strip in strips[:-1]:
        assert [line.get_xdata()[0] for line in drawn(strip).lines] == [0.5, 0.5, 0.5]
    done = drawn(strips[-1]).lines[0]
    assert (list(done.get_xdata()), list(done.get_ydata())) == ([2.0, 3.5, 4.0, 4.0], [50, 90, 99, 100])


def test_places_are_kept_apart_in_their_order() -> None:
    places = spread([0.0, 0.1, 0.2, 9.9], apart=1.0, low=0.0, high=10.0)
    assert places == sorted(places)
    assert all(second - first >= 1.0 for first, second in pairwise(places))


@pytest.mark.parametrize("kind", BEGINNINGS)
@pytest.mark.parametrize("which", [("timeline",), ("memory",), ("generation",), None])
def test_the_same_simulation_is_the_same_file_of_its_format(
    two_pools: Plan, simulated: Build, tmp_path: Path, kind: str, which: tuple[str, ...] | None
) -> None:
    paths = [tmp_path / "new" / f"{name}.{kind}" for name in ("one", "two")]
    for path in paths:
        write_simulation_figure(simulated(2), two_pools, path, **({"which": which} if which else {}))
    first, second = (path.read_bytes() for path in paths)
    assert first.startswith(BEGINNINGS[kind])
    assert first == second


def test_no_figure_is_written_of_what_nobody_generated(
    two_pools: Plan, simulated: Build, tmp_path: Path
) -> None:
    silent = simulated(1).model_copy(update={"generation": ()})
    write_simulation_figure(silent, two_pools, tmp_path / "all.svg")
    with pytest.raises(SpecError, match="nothing generates"):
        write_simulation_figure(silent, two_pools, tmp_path / "none.svg", which=("generation",))
    with pytest.raises(SpecError, match="nothing generates"):
        write_generation_figure((), tmp_path / "none.svg", title="none")
    assert not (tmp_path / "none.svg").exists()


def test_an_empty_timeline_is_a_picture_too(two_pools: Plan, tmp_path: Path) -> None:
    empty = Timeline(origin="measured", spans=())
    write_timeline_figure([empty, empty], tmp_path / "empty.png", title="empty", plan=two_pools)
    write_timeline_figure([empty], tmp_path / "nobody.png", title="empty")
    for name in ("empty", "nobody"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_dollars_in_names_are_dollars(
    two_pools: Plan, simulated: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not mathematics, of which this would be broken."""
    parsed: list[str] = []
    monkeypatch.setattr(MathTextParser, "parse", lambda self, text, *rest, **named: parsed.append(text))
    scenario = two_pools.scenario.model_copy(update={"name": "$\\broken$"})
    plan = two_pools.model_copy(update={"scenario": scenario})
    write_simulation_figure(simulated(1), plan, tmp_path / "name.svg")
    write_generation_figure(simulated(2).generation, tmp_path / "two.pdf", title="$\\broken$")
    assert parsed == []
    for name in ("name.svg", "two.pdf"):
        assert (tmp_path / name).stat().st_size > 0


def crowd(pools: int, iterations: int) -> tuple[Timeline, list[str]]:
    """Pools that run one call after another, each a little later than the pool before."""
    roles = ["actor", "critic", "reference", "reward", "cost", "generator", "judge", "verifier", "teacher"]
    spans = [
        Span(
            pool=f"pool-{index}",
            role=role,
            call=f"{role}.{'generate' if index % 2 == 0 else 'update'}",
            kind="generate" if index % 2 == 0 else "train",
            iteration=iteration,
            start_s=100.0 * iteration + 7 * index,
            end_s=100.0 * iteration + 30 + 12 * index,
        )
        for iteration in range(iterations)
        for index, role in enumerate(roles[:pools])
    ]
    ordered = tuple(sorted(spans, key=lambda span: span.start_s))
    return Timeline(origin="predicted", spans=ordered), roles[:pools]


def crowded_plan(plan: Plan, roles: Sequence[str]) -> Plan:
    pools = tuple(
        plan.pools[0].model_copy(update={"name": f"pool-{index}", "roles": (role,)})
        for index, role in enumerate(roles)
    )
    memory = dict.fromkeys(roles, plan.prediction.memory["actor"])
    prediction = plan.prediction.model_copy(update={"memory": memory})
    return plan.model_copy(update={"pools": pools, "prediction": prediction})


@pytest.mark.parametrize(("pools", "iterations"), [(1, 1), (1, 8), (4, 3), (9, 1), (9, 8)])
def test_no_words_lie_upon_each_other(two_pools: Plan, simulated: Build, pools: int, iterations: int) -> None:
    timeline, roles = crowd(pools, iterations)
    plan = crowded_plan(two_pools, roles)
    generation = simulated(iterations).generation
    end_s = timeline.end_s
    with rc_context(STYLE):
        strips = [
            timeline_strip(timeline, end_s=end_s, plan=plan),
            *memory_strips(timeline, plan, generation, end_s=end_s),
            *generation_strips(timeline, generation, end_s=end_s),
        ]
        figure = sheet(strips, "a title", "a note", end_s)
        figure.canvas.draw()
        assert_legible(figure)


def assert_legible(figure: Figure) -> None:
    """No two texts overlap, and none lies outside of the sheet."""
    renderer = figure.canvas.get_renderer()
    texts = [
        text
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and is_on(figure, text)
    ]
    extents = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]
    width, height = figure.canvas.get_width_height()
    for name, box in extents:
        assert 0 <= box.x0 <= box.x1 <= width, name
        assert 0 <= box.y0 <= box.y1 <= height, name
    for (one, first), (other, second) in combinations(extents, 2):
        across = min(first.x1, second.x1) - max(first.x0, second.x0)
        down = min(first.y1, second.y1) - max(first.y0, second.y0)
        assert across <= 1 or down <= 1, f"{one!r} and {other!r}"


def is_on(figure: Figure, text: Text) -> bool:
    """Whether a text is drawn: ticks that are not shown keep theirs."""
    for axes in figure.axes:
        for axis, low, high in ((axes.xaxis, *axes.get_xlim()), (axes.yaxis, *sorted(axes.get_ylim()))):
            for tick in axis.get_major_ticks():
                if text in (tick.label1, tick.label2):
                    return low <= tick.get_loc() <= high and text.get_visible()
    return True


def test_texts_are_as_wide_as_they_are_drawn() -> None:
    figure = Figure(dpi=72)
    FigureCanvasAgg(figure)
    with rc_context(STYLE):
        text = figure.text(0, 0, "actor.generate/reshard", fontsize=8)
        width = text.get_window_extent(figure.canvas.get_renderer()).width
    assert text_inches("actor.generate/reshard", 8) * 72 == pytest.approx(width, rel=0.05)


def test_a_format_that_is_not_known_is_refused_by_its_ending(two_pools, simulated, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"a.bmp: end the name in .svg, .pdf, .png"):
        write_simulation_figure(simulated(1), two_pools, tmp_path / "a.bmp")
    with pytest.raises(SpecError, match="name panels to draw: timeline, memory, generation"):
        write_simulation_figure(simulated(1), two_pools, tmp_path / "a.png", which=())
    assert not list(tmp_path.iterdir())
