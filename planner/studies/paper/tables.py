"""The evaluation as tables of text: the paper's figure beside ours."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

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
from planner.studies.paper.generation import Bar, bars, choices, syncs
from planner.studies.paper.placements import Case
from planner.studies.paper.published import GENERATION_SECONDS, MINIMA, Algorithm, Size
from planner.studies.paper.seconds import totals
from planner.units import GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Cells as text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All that was held against the paper."""

    facts: tuple[Fact, ...]
    tables: tuple[Table, ...]

    @property
    def held(self) -> int:
        return sum(fact.holds for fact in self.facts)


def evaluation() -> Evaluation:
    """Every published fact, and the tables that say more. Plans all of the paper's scenarios: minutes."""
    by_stage, generated = list(placements.cases()), bars()
    facts = [fit_fact(fit) for algorithm in MINIMA for fit in minima.fits(algorithm)]
    facts += [placement_fact(case) for case in by_stage]
    facts += [choice_fact(choice) for choice in choices()]
    facts += generation_facts(generated)
    tables = (
        _facts_table(facts),
        _layouts_table(by_stage, list(placements.cases_in_layouts())),
        _time_models_table(by_stage, list(placements.steady_cases())),
        _generation_table(generated),
        _sync_table(),
        _seconds_table(),
        _minima_table(),
    )
    return Evaluation(facts=tuple(facts), tables=tables)


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
        return algorithm, size, published, "does not fit", "", ""
    persistent, transient = (f"{count / GIB:.1f}" for count in minima.fullest_bytes(plan))
    return algorithm, size, published, f"{plan.used_devices}", persistent, transient


def _name(case: Case) -> str:
    return f"{case.size} on {case.devices}"


def _standing(case: Case) -> str:
    return "the same" if case.is_best else standing(case).removeprefix("; the published one ")
