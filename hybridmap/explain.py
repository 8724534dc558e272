"""``hybridmap explain``: what decides a plan's seconds, what a demand costs, what hardware would help."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import planner
from hybridmap import inputs, screen
from hybridmap.answers import plan_answer, price_answer
from hybridmap.changes import changed_scenario
from hybridmap.demands import add_search, search_settings
from planner.domain.plan import Plan
from planner.domain.profile import Profile
from planner.domain.reading import read_profile
from planner.errors import SpecError
from planner.reporting.explanations import (
    CallGrowth,
    critical_report,
    gain_table,
    price_report,
    shrinking_words,
)
from planner.reporting.plans import runner_up_table
from planner.units import format_seconds


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser("explain")
    parser.add_argument("scenario", type=Path, metavar="PLAN|SCENARIO")
    question = parser.add_mutually_exclusive_group()
    question.add_argument(
        "--with",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        dest="changes",
        help="solve again under a pin (actor.train.tensor=4), colocate=actor,critic, apart=actor,critic, or "
        "any other key of the scenario (staleness=2), and say the price",
    )
    question.add_argument(
        "--sensitivity", action="store_true", help="what faster links, more memory or more devices would buy"
    )
    parser.add_argument("--profile", type=Path, metavar="FILE", help="measurements to predict from")
    add_search(parser)
    screen.add_json(parser)
    parser.set_defaults(command=explain, settings=[])


def explain(options: argparse.Namespace) -> None:
    """Answer the one question that is asked."""
    if options.changes:
        _explain_changes(options)
    elif options.sensitivity:
        _explain_sensitivity(options)
    else:
        _explain_plan(options)


def _explain_plan(options: argparse.Namespace) -> None:
    """What decides the plan's seconds, and what other placements lose."""
    is_plan = inputs.is_plan(options.scenario)
    plan = (
        inputs.read_sound_plan(options.scenario, profiles=_profiles(options)) if is_plan else _best(options)
    )
    found = planner.critical(plan)
    rows = [(call.name, call.pool, call.seconds) for call in found.calls]
    rows += [(f"{each.source} to {each.target}", "link", each.seconds) for each in found.crossings]
    screen.show(options, critical_report(plan, _words(found), rows), runner_up_table(plan))
    screen.answer(options, plan_answer(plan) | {"critical": asdict(found)})


def _words(found: planner.Critical) -> str:
    """Which limit the seconds of an iteration are."""
    seconds = format_seconds(found.seconds)
    if found.kind == "pool":
        return f"{found.calls[0].pool} is never idle and decides the period of {seconds}"
    if found.kind == "stages":
        return f"the slowest pool of each stage decides the stage cost of {seconds}"
    if found.link is not None:
        one, other = found.link
        return f"what crosses from {one} to {other} in an iteration decides the period of {seconds}"
    over = "one iteration" if found.iterations == 1 else f"{found.iterations} iterations"
    return f"these calls wait for each other, over {over}, and decide the period of {seconds}"


def _explain_changes(options: argparse.Namespace) -> None:
    """The price of demands."""
    scenario = _scenario(options)
    changed = changed_scenario(scenario, options.changes)
    with screen.errors_console().status("solving with and without ..."):
        price = planner.explain(
            scenario, changed, settings=search_settings(options), profiles=_profiles(options)
        )
    words = " ".join(options.changes)
    screen.show(
        options,
        price_report(
            f"{words}:",
            (price.before, price.after),
            change=(price.amount, price.relative),
            is_proven=price.is_proven,
            calls=_growths(price),
        ),
        *_doubts(options, price.before),
    )
    answer = {"with": options.changes, "price": price_answer(price)}
    screen.answer(options, answer | {"before": plan_answer(price.before), "after": plan_answer(price.after)})


def _explain_sensitivity(options: argparse.Namespace) -> None:
    """What improvements of the cluster buy."""
    if options.profile:
        raise SpecError("command line: --profile: other hardware cannot be measured here; leave it out")
    with screen.errors_console().status("solving ...") as status:
        best = _best(options)
        gains = list(
            planner.sensitivity(
                best,
                settings=search_settings(options),
                progress=lambda words: status.update(f"solving with {words} ..."),
            )
        )
    rows = [
        (gain.words, gain.price.amount, gain.price.relative, shrinking_words(_growths(gain.price)))
        for gain in gains
        if gain.price is not None
    ]
    title = f"{best.scenario.name}: what better hardware would buy"
    refused = [f"{gain.words}: nothing fits: {gain.reason}" for gain in gains if gain.price is None]
    screen.show(options, gain_table(title, best.proof, rows), *refused)
    answers = [_gain_answer(gain) for gain in gains]
    screen.answer(options, {"before": plan_answer(best), "improvements": answers})


def _gain_answer(gain: planner.Gain) -> dict[str, Any]:
    if gain.price is None:
        return {"improvement": gain.words, "status": "infeasible", "reason": gain.reason}
    price = price_answer(gain.price)
    return {"improvement": gain.words, "status": gain.price.after.proof.status, **price}


def _growths(price: planner.Price) -> list[CallGrowth]:
    return [(each.name, each.before_s, each.after_s) for each in price.calls]


def _scenario(options: argparse.Namespace) -> planner.Scenario:
    """That of the plan, or of the file."""
    if inputs.is_plan(options.scenario):
        return planner.read_plan(options.scenario).scenario
    return planner.read_scenario(options.scenario)


def _best(options: argparse.Namespace) -> Plan:
    return planner.plan(
        _scenario(options), settings=search_settings(options), profiles=_profiles(options)
    ).plan


def _profiles(options: argparse.Namespace) -> Sequence[Profile]:
    return [read_profile(options.profile)] if options.profile else []


def _doubts(options: argparse.Namespace, before: Plan) -> list[str]:
    """What makes the solved plan another one than the file's."""
    if not inputs.is_plan(options.scenario):
        return []
    written = planner.read_plan(options.scenario)
    if any(call.origin != "modelled" for call in written.prediction.calls.values()) and not options.profile:
        return ["the plan was made from measurements, these seconds are modelled: give --profile"]
    if written.prediction.calls != before.prediction.calls:
        return ["the plan of the file is another one than the best plan that is found now"]
    return []
