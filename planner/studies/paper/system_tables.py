"""The comparison with other systems as tables of text."""

from collections.abc import Iterator, Sequence

from planner.studies.paper.fixed import PLACEMENTS, Bars
from planner.studies.paper.published import ALGORITHM_NAMES, FIGURES, Algorithm
from planner.studies.paper.searches import Search
from planner.studies.paper.systems import BASELINES, NAMES, SETUPS
from planner.studies.paper.table import Table
from planner.studies.paper.throughput import Comparison, Key, name_of, of_algorithm
from planner.studies.paper.transitions import Transitions

_KEYS = tuple((system, setup) for system in BASELINES for setup in SETUPS)


def throughput_tables(comparisons: Sequence[Comparison]) -> Iterator[Table]:
    """One for each algorithm: tokens per second, and HybridFlow's over the others'."""
    for algorithm in FIGURES:
        found = of_algorithm(comparisons, algorithm)
        if found:
            yield _throughput_table(algorithm, found)


def _throughput_table(algorithm: Algorithm, comparisons: Sequence[Comparison]) -> Table:
    keys = [key for key in _KEYS if any(key in each.others for each in comparisons)]
    rows = tuple(
        (
            each.size,
            f"{each.devices}",
            f"{each.ours.tokens_per_second:.0f}",
            *(_beside(each, key) for key in keys),
        )
        for each in comparisons
    )
    name = ALGORITHM_NAMES[algorithm]
    return Table(
        title=f"figure {FIGURES[algorithm]}: tokens per second of {name}, and ours over it",
        columns=("model", "devices", NAMES["hybridflow"], *map(name_of, keys)),
        rows=rows,
    )


def _beside(each: Comparison, key: Key) -> str:
    run = each.others.get(key)
    if run is None:
        return "does not fit"
    return f"{run.tokens_per_second:.0f}, {each.ours.tokens_per_second / run.tokens_per_second:.2f}x"


def transition_table(found: Sequence[Transitions]) -> Table:
    """Figure 14."""
    keys = [key for key in _KEYS if key[0] != "nemo-aligner"]
    rows = tuple(
        (
            each.size,
            f"{each.devices}",
            f"{each.hybridflow:.1f}",
            f"{each.vanilla:.1f}",
            *(f"{each.others[key]:.1f}" if key in each.others else "does not fit" for key in keys),
        )
        for each in found
    )
    return Table(
        title="figure 14: transitions of each system (s)",
        columns=("model", "devices", NAMES["hybridflow"], "HybridFlow-V", *map(name_of, keys)),
        rows=rows,
    )


def search_table(found: Sequence[Search]) -> Table:
    """Figure 16."""
    rows = tuple(
        (each.size, f"{each.devices}", f"about {each.published:.0f}", f"{each.seconds:.1f}") for each in found
    )
    return Table(
        title="figure 16: seconds of one search",
        columns=("model", "devices", "published (s)", "ours, here (s)"),
        rows=rows,
    )


def fixed_table(found: Sequence[Bars]) -> Table:
    """Figure 12."""
    rows = tuple(
        (
            each.size,
            f"{each.devices}",
            f"{each.best:.0f}",
            *(f"{each.fixed[name]:.0f}" if name in each.fixed else "does not fit" for name in PLACEMENTS),
        )
        for each in found
    )
    return Table(
        title="figure 12: tokens per second by placement",
        columns=("model", "devices", "best", *PLACEMENTS),
        rows=rows,
    )
