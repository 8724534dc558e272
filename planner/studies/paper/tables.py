"""The evaluation as tables of text: the paper's figure beside ours."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from planner.studies.paper import minima, placements
from planner.studies.paper.facts import (
    Fact,
    choice_fact,
    fit_fact,
    generation_facts,
    placement_fact,
    pools,
    standing,
)
from planner.studies.paper.fixed import Bars, fixed_bars
from planner.studies.paper.generation import Bar, bars, choices, syncs
from planner.studies.paper.placements import Case
from planner.studies.paper.published import ALGORITHM_NAMES, GENERATION_SECONDS, MINIMA, Algorithm, Size
from planner.studies.paper.searches import Search, searches
from planner.studies.paper.seconds import totals
from planner.studies.paper.system_facts import flat_fact, speedup_facts, transition_facts
from planner.studies.paper.system_tables import (
    fixed_table,
    search_table,
    throughput_tables,
    transition_table,
)
from planner.studies.paper.systems import SETUPS
from planner.studies.paper.table import Table
from planner.studies.paper.throughput import Comparison, comparing, points
from planner.studies.paper.transitions import Transitions, transitions
from planner.units import GIB

__all__ = ["STEPS", "Evaluation", "Measures", "Table", "evaluation"]

Watch = Callable[[str], None]
"""Told of each step of an evaluation before it is taken."""

STEPS = 8 + len(list(points()))
"""Of an evaluation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """What the figures of the paper show, as we have it."""

    comparisons: tuple[Comparison, ...] = ()
    placements: tuple[Bars, ...] = ()
    transitions: tuple[Transitions, ...] = ()
    generation: tuple[Bar, ...] = ()
    searches: tuple[Search, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All that was held against the paper."""

    facts: tuple[Fact, ...]
    tables: tuple[Table, ...]
    measures: Measures = field(default_factory=Measures)

    @property
    def held(self) -> int:
        return sum(fact.holds for fact in self.facts)


def evaluation(watch: Watch = lambda words: None, *, workers: int = 0) -> Evaluation:
    """Every published fact, and the tables that say more. Plans all of the paper's scenarios: minutes.

    Parameters
    ----------
    workers
        Processes that compare systems meanwhile.
    """
    watch("figure 16: searches")
    timed = tuple(searches())  # before other processes begin
    with comparing(watch, workers=workers) as compared:
        return _evaluation(watch, compared, timed)


def _evaluation(
    watch: Watch, compared: Callable[[], list[Comparison]], timed: tuple[Search, ...]
) -> Evaluation:
    watch("figure 12: placements")
    by_stage = list(placements.cases())
    watch("figures 14 and 15: t_g")
    chosen, generated = list(choices()), tuple(bars())
    watch("fewest devices")
    fitting = [fit for algorithm in MINIMA for fit in minima.fits(algorithm)]
    others = _other_tables(by_stage, watch)
    watch("figure 12: fixed placements")
    fixed = tuple(fixed_bars(by_stage))
    comparisons = compared()
    measures = Measures(
        comparisons=tuple(comparisons),
        placements=fixed,
        transitions=tuple(transitions(comparisons)),
        generation=generated,
        searches=timed,
    )
    facts = [*map(fit_fact, fitting), *map(placement_fact, by_stage), *map(choice_fact, chosen)]
    facts += [*generation_facts(generated), *_system_facts(measures)]
    tables = (_facts_table(facts), *_measured_tables(measures), *others)
    return Evaluation(facts=tuple(facts), tables=tables, measures=measures)


def _system_facts(measures: Measures) -> Iterator[Fact]:
    for setup in SETUPS:
        yield from speedup_facts(measures.comparisons, setup)
    yield flat_fact(measures.transitions)
    for setup in SETUPS:
        yield from transition_facts(measures.transitions, setup)


def _measured_tables(measures: Measures) -> Iterator[Table]:
    yield from throughput_tables(measures.comparisons)
    yield fixed_table(measures.placements)
    yield _generation_table(measures.generation)
    yield transition_table(measures.transitions)
    yield search_table(measures.searches)


def _other_tables(by_stage: Sequence[Case], watch: Watch) -> Iterator[Table]:
    """Made at once, one step after the other."""
    watch("placements in the paper's layouts")
    in_layouts = _layouts_table(by_stage, list(placements.cases_in_layouts()))
    watch("placements by the period")
    in_both = _time_models_table(by_stage, list(placements.steady_cases()))
    watch("seconds of an iteration")
    return iter((in_layouts, in_both, _sync_table(), _seconds_table(), _minima_table()))


def _facts_table(facts: Sequence[Fact]) -> Table:
    rows = tuple((fact.source, fact.published, fact.ours, "yes" if fact.holds else "no") for fact in facts)
    return Table(title="facts", columns=("fact", "published", "ours", "holds"), rows=rows)


def _layouts_table(free: Sequence[Case], in_layouts: Sequence[Case]) -> Table:
    rows = tuple(
        (_name(one), pools(one.plan), _standing(one), pools(other.plan), _standing(other))
        for one, other in zip(free, in_layouts, strict=True)
    )
    columns = ("case", "best", "published one", "best in the paper's layouts", "published one")
    return Table(title="placements by stage cost", columns=columns, rows=rows)


def _time_models_table(by_stage: Sequence[Case], steady: Sequence[Case]) -> Table:
    rows = tuple(
        (_name(one), pools(one.plan), *_both(one), pools(other.plan), *_both(other))
        for one, other in zip(by_stage, steady, strict=True)
    )
    columns = (
        "case",
        "best by stage cost",
        "stage cost, period (s)",
        "of the published one",
        "best by period",
        "stage cost, period (s)",
        "of the published one",
    )
    return Table(title="placements in both time models", columns=columns, rows=rows)


def _both(case: Case) -> Iterator[str]:
    """Stage cost and period of the best and of the published plan."""
    for plan in (case.plan, case.published_plan):
        if plan is None:
            yield "does not fit"
        else:
            of = plan.prediction
            yield f"{of.stage_cost_seconds:.1f}, {of.iteration_seconds:.1f}"


def _generation_table(generated: Sequence[Bar]) -> Table:
    rows = tuple(
        (
            f"{bar.tensor}",
            GENERATION_SECONDS.get(bar.tensor, ""),
            f"{bar.seconds:.1f}",
            f"{bar.transition_seconds:.1f}",
            f"{bar.max_sequences}",
        )
        for bar in generated
    )
    columns = ("t_g", "published (s)", "generation (s)", "transition (s)", "sequences of a replica at once")
    return Table(title="generation of 7b on 16 devices", columns=columns, rows=rows)


def _sync_table() -> Table:
    rows = tuple(
        (sync.size, f"{sync.train.devices}", f"{sync.train}", f"{sync.generate}", f"{sync.seconds:.1f}")
        for sync in syncs()
    )
    columns = ("model", "devices", "training", "generation", "transition (s)")
    return Table(title="transitions in the paper's layouts", columns=columns, rows=rows)


def _seconds_table() -> Table:
    rows = tuple(
        (
            f"{total.size} on {total.devices}",
            f"about {total.published}",
            f"{total.stage_cost:.1f}",
            f"{total.in_layouts:.1f}",
            f"{total.period:.1f}",
        )
        for total in totals()
    )
    columns = ("PPO of", "published (s)", "stage cost (s)", "in the paper's layouts (s)", "period (s)")
    return Table(title="seconds of one iteration", columns=columns, rows=rows)


def _minima_table() -> Table:
    rows = tuple(_minimum(algorithm, size) for algorithm, sizes in MINIMA.items() for size in sizes)
    columns = ("algorithm", "model", "published", "ours", "GiB per device: whole iteration", "greatest call")
    return Table(title="fewest devices", columns=columns, rows=rows)


def _minimum(algorithm: Algorithm, size: Size) -> tuple[str, ...]:
    plan = minima.fewest(algorithm, size)
    published = f"{MINIMA[algorithm][size]}"
    if plan is None:
        return ALGORITHM_NAMES[algorithm], size, published, "does not fit", "", ""
    persistent, transient = (f"{count / GIB:.1f}" for count in minima.fullest_bytes(plan))
    return ALGORITHM_NAMES[algorithm], size, published, f"{plan.used_devices}", persistent, transient


def _name(case: Case) -> str:
    return f"{case.size} on {case.devices}"


def _standing(case: Case) -> str:
    return "the same" if case.is_best else standing(case).removeprefix("; the published one ")
