"""The paper's figures, with our values in them."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from planner.reporting.figures.bars import Panel, Picture
from planner.studies.paper.fixed import PLACEMENTS
from planner.studies.paper.published import ALGORITHM_NAMES, FIGURES, Size
from planner.studies.paper.systems import NAMES
from planner.studies.paper.tables import Measures
from planner.studies.paper.throughput import Comparison, name_of, of_algorithm
from planner.studies.paper.transitions import Transitions

Series = dict[str, tuple[float | None, ...]]
"""Heights by name, one for each tick."""


def pictures(measures: Measures) -> Iterator[Picture]:
    """Figures 9 to 12 and 14 to 16."""
    for algorithm, number in FIGURES.items():
        found = of_algorithm(measures.comparisons, algorithm)
        if found:
            yield Picture(
                name=f"figure-{number}-{algorithm}",
                title=f"Figure {number}: throughput of {ALGORITHM_NAMES[algorithm]}",
                panels=tuple(_throughputs(size, found) for size in _sizes(found)),
                across="devices",
                up="tokens per second",
                is_logarithmic=True,
            )
    if measures.placements:
        yield _placements(measures)
    if measures.transitions:
        yield _transitions(measures)
    if measures.generation:
        yield _generation(measures)
    if measures.searches:
        yield _searches(measures)


def _throughputs(size: Size, comparisons: Sequence[Comparison]) -> Panel:
    own = [each for each in comparisons if each.size == size]
    series: Series = {NAMES["hybridflow"]: tuple(each.ours.tokens_per_second for each in own)}
    for key in dict.fromkeys(key for each in comparisons for key in each.others):
        runs = [each.others.get(key) for each in own]
        series[name_of(key)] = tuple(None if run is None else run.tokens_per_second for run in runs)
    return Panel(title=size, ticks=tuple(str(each.devices) for each in own), series=series)


def _placements(measures: Measures) -> Picture:
    def panel(size: Size) -> Panel:
        own = [each for each in measures.placements if each.size == size]
        series: Series = {name: tuple(each.fixed.get(name) for each in own) for name in PLACEMENTS}
        series["best"] = tuple(each.best for each in own)
        return Panel(title=size, ticks=tuple(str(each.devices) for each in own), series=series)

    return Picture(
        name="figure-12-placements",
        title="Figure 12: placements",
        panels=tuple(panel(size) for size in _sizes(measures.placements)),
        across="devices",
        up="tokens per second",
    )


def _transitions(measures: Measures) -> Picture:
    return Picture(
        name="figure-14-transitions",
        title="Figure 14: transitions",
        panels=tuple(_transition_panel(size, measures.transitions) for size in _sizes(measures.transitions)),
        across="devices",
        up="seconds",
        is_logarithmic=True,
    )


def _transition_panel(size: Size, found: Sequence[Transitions]) -> Panel:
    own = [each for each in found if each.size == size]
    series: Series = {
        NAMES["hybridflow"]: tuple(each.hybridflow for each in own),
        "HybridFlow-V": tuple(each.vanilla for each in own),
    }
    for key in dict.fromkeys(key for each in found for key in each.others):
        series[name_of(key)] = tuple(each.others.get(key) for each in own)
    return Panel(title=size, ticks=tuple(str(each.devices) for each in own), series=series)


def _generation(measures: Measures) -> Picture:
    bars = measures.generation
    panel = Panel(
        title="7b on 16 devices",
        ticks=tuple(str(bar.tensor) for bar in bars),
        series={
            "generation": tuple(bar.seconds for bar in bars),
            "transition": tuple(bar.transition_seconds for bar in bars),
        },
    )
    return Picture(
        name="figure-15-generation",
        title="Figure 15: generation",
        panels=(panel,),
        across="t_g",
        up="seconds",
        is_stacked=True,
    )


def _searches(measures: Measures) -> Picture:
    found = measures.searches
    panel = Panel(
        title="PPO",
        ticks=tuple(f"{each.size}\non {each.devices}" for each in found),
        series={
            "published (read off)": tuple(each.published for each in found),
            "ours, here": tuple(each.seconds for each in found),
        },
    )
    return Picture(
        name="figure-16-searches",
        title="Figure 16: seconds of one search",
        panels=(panel,),
        across="model and devices",
        up="seconds",
        is_logarithmic=True,
    )


class _Sized(Protocol):
    """What was found for one size of the models."""

    @property
    def size(self) -> Size: ...


def _sizes(found: Sequence[_Sized]) -> list[Size]:
    return list(dict.fromkeys(each.size for each in found))
