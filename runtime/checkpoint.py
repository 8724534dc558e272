"""Checkpoints of a run: from the last whole one it can go on, in the same layout or another."""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from planner.domain.dataflow import CONTROLLER, GENERATOR
from planner.domain.plan import Plan
from planner.domain.reading import read_plan
from planner.domain.scenario import Scenario
from planner.domain.text import dump_json, load_json, write_text
from planner.errors import PlanMismatchError, SpecError
from runtime.controller import Controller
from runtime.requirements import carried_prompts

PLAN = "plan.json"
"""What a run writes first: a folder that has it can be resumed."""
FOLDER = "checkpoints"
LATEST = "latest.json"
COMPARED = ("algorithm", "models", "precision", "workload", "staleness", "rollouts")
"""Fields of a scenario that a resumed run must share with the one it goes on from."""
_UNDER_WAY = "under-way"
"""Folder of the prompts that are carried on, whichever role generates."""


def save_checkpoint(controller: Controller, plan: Plan, out: Path, *, iterations: int) -> None:
    """Write the states of trained roles and numeric calls, prompts under way, and forget the one before.

    The name of the checkpoint is written last: a run that is killed here goes on from the one before.
    """
    name = f"iteration-{iterations:06d}"
    folder = (out / FOLDER / name).resolve()
    shutil.rmtree(folder, ignore_errors=True)  # of a save that was killed
    for role in _kept_roles(plan):
        controller.ask(role, "save_state", folder=str(folder / role))
    if plan.scenario.rollouts.carry:
        controller.ask(controller.generating, "save_under_way", folder=str(folder / _UNDER_WAY))
    write_text(out / FOLDER / LATEST, dump_json({"iterations": iterations, "name": name}))
    _remove_others(out / FOLDER, name)


def load_checkpoint(controller: Controller, plan: Plan, out: Path) -> None:
    """Read the states from the last checkpoint, and bring the weights to whoever generates with them."""
    latest = load_json(out / FOLDER / LATEST)
    folder = (out / FOLDER / latest["name"]).resolve()
    for role in _kept_roles(plan):
        controller.ask(role, "load_state", folder=str(folder / role), iterations=latest["iterations"])
    if plan.scenario.rollouts.carry:
        controller.ask(controller.generating, "load_under_way", folder=str(folder / _UNDER_WAY))
    if GENERATOR in plan.strategies:
        controller.sync()


def finished_iterations(plan: Plan, out: Path) -> int:
    """Iterations before the last checkpoint of a run directory; 0 where the run had none yet.

    Raises
    ------
    SpecError
        When no run was begun there, or its checkpoint lacks prompts under way.
    PlanMismatchError
        When the run was of another scenario.
    """
    begun, latest = out / PLAN, out / FOLDER / LATEST
    if not begun.is_file():
        raise SpecError(f"{begun}: no such file, so there is nothing to resume; run without --resume")
    different = list(_differences(plan.scenario, read_plan(begun).scenario))
    if different:
        raise PlanMismatchError(
            f"{begun}: the run there has another scenario.{different[0]}; resume it with its own plan, or "
            "choose another folder"
        )
    if not latest.is_file():
        return 0
    checkpoint = load_json(latest)
    _refuse_lost_prompts(plan, out / FOLDER / checkpoint["name"] / _UNDER_WAY)
    return int(checkpoint["iterations"])


def _kept_roles(plan: Plan) -> list[str]:
    """Roles with something that changes: weights, coefficients."""
    return [*(role for role, strategy in plan.strategies.items() if strategy.train is not None), CONTROLLER]


def _refuse_lost_prompts(plan: Plan, folder: Path) -> None:
    """Hold what is under way in a checkpoint against what every iteration leaves."""
    carried = carried_prompts(plan.scenario)
    found = sum(len(json.loads(file.read_text())) for file in folder.glob("*.json")) if carried else 0
    if found != carried:
        raise SpecError(
            f"{folder}: holds {found} prompts under way, {carried} are carried on (rollouts.carry), so some "
            "would be lost; run without --resume"
        )


def _differences(one: Scenario, other: Scenario) -> Iterable[str]:
    for field in COMPARED:
        if getattr(one, field) != getattr(other, field):
            yield field
    if one.run is not None and other.run is not None and not one.run.resumes(other.run):
        yield "run"


def _remove_others(folder: Path, name: str) -> None:
    for other in folder.iterdir():
        if other.is_dir() and other.name != name:
            shutil.rmtree(other)
