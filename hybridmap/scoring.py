"""``hybridmap plan --score``: a choice made by hand, costed, certified and held against the best plan."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import RenderableType

import planner
from hybridmap import inputs, screen
from hybridmap.answers import plan_answer, price_answer
from hybridmap.demands import search_settings
from planner.domain.choice import Choice, read_choice, read_choice_scenario
from planner.errors import SpecError
from planner.reporting.explanations import price_report
from planner.reporting.plans import plan_report


def add_score(parser: argparse.ArgumentParser) -> None:
    """Add ``--score``."""
    parser.add_argument(
        "--score",
        nargs="?",
        type=Path,
        const=True,
        metavar="PLAN",
        help="cost a plan written by hand (or, without PLAN, the scenario's own pins, colocate and apart), "
        "and hold it against the optimum; the same as naming a plan instead of the scenario",
    )


def is_asked(options: argparse.Namespace) -> bool:
    """Whether a plan is to be scored rather than made."""
    return bool(options.score) or (options.scenario is not None and inputs.is_plan(options.scenario))


def score(options: argparse.Namespace) -> None:
    """Cost the choice, solve for the best plan, show both."""
    scenario, choice = _asked(options)
    with screen.errors_console().status("solving for the best plan ..."):
        found = planner.score(scenario, choice, settings=search_settings(options))
    words = _words(found, "the plan is given" if choice else "the plan was found under the demands")
    screen.show(options, plan_report(found.plan), words, _report(found))
    against = price_answer(found.against) | {"outside": found.is_outside, "words": words}
    optimum = plan_answer(found.against.before)
    if options.out:
        planner.write_plan(found.plan, options.out)
    screen.answer(options, plan_answer(found.plan) | {"against_optimum": against, "optimum": optimum})


def _report(found: planner.Score) -> RenderableType:
    against, rival = found.against, _rival(found)
    return price_report(
        f"against the {rival} the plan",
        (against.before, against.after),
        heads=(rival, "the plan"),
        change=(against.amount, against.relative),
        is_proven=against.is_proven,
        calls=[(each.name, each.before_s, each.after_s) for each in against.calls],
    )


def _rival(found: planner.Score) -> str:
    """What the plan is held against; an optimum only where that is proven, of all plans that may be given."""
    if found.against.before.proof.status != "optimal":
        return "best found"
    return "best listed" if found.is_outside else "optimum"


def _words(found: planner.Score, origin: str) -> str:
    """Who chose the plan, and what its bound is worth."""
    solver = found.against.before.proof.solver
    if found.is_outside:
        return (
            f"{origin} and lies outside of what the search lists: it is better than the bound that "
            f"{solver} proved for all plans listed, so nothing is proven about plans like it"
        )
    return f"{origin}; its bound is what {solver} proved for all plans that the search lists"


def _asked(options: argparse.Namespace) -> tuple[planner.Scenario, Choice | None]:
    """The scenario, and the choice unless its pins are the choice."""
    if options.scenario is not None and inputs.is_plan(options.scenario):
        if options.score:
            raise SpecError(f"{options.scenario}: is a plan; --score needs the scenario that it is made for")
        inputs.refuse_settings(options)
        return read_choice_scenario(options.scenario), read_choice(options.scenario)
    scenario = inputs.scenario_of(options)
    if options.score is True:
        return _pinned(scenario), None
    return scenario, read_choice(options.score)


def _pinned(scenario: planner.Scenario) -> planner.Scenario:
    if not (scenario.pin.root or scenario.colocate or scenario.apart):
        raise SpecError(
            f"{scenario.name}: --score without a plan scores pin, colocate and apart, and there are none; "
            "add some, or name a plan"
        )
    return scenario
