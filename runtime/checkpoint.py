"""Checkpoints of a run: from the last whole one it can go on, in the same layout or another."""

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

FOLDER = "checkpoints"
LATEST = "latest.json"
COMPARED = ("algorithm", "models", "precision", "workload", "staleness", "rollouts")
"""Fields of a scenario that a resumed run must share with the one it goes on from."""


def save_checkpoint(controller: Controller, plan: Plan, out: Path, *, iterations: int) -> None:
    """Write the states of trained roles and numeric calls, and forget the checkpoint before.

    The name of the checkpoint is written last: a run that is killed here goes on from the one before.
    """
    name = f"iteration-{iterations:06d}"
    shutil.rmtree(out / FOLDER / name, ignore_errors=True)  # of a save that was killed
    for role in _kept_roles(plan):
        controller.ask(role, "save_state", folder=str((out / FOLDER / name / role).resolve()))
    write_text(out / FOLDER / LATEST, dump_json({"iterations": iterations, "name": name}))
    _remove_others(out / FOLDER, name)


def load_checkpoint(controller: Controller, plan: Plan, out: Path) -> None:
    """Read the states from the last checkpoint, and bring the weights to whoever generates with them."""
    latest = load_json(out / FOLDER / LATEST)
    for role in _kept_roles(plan):
        folder = str((out / FOLDER / latest["name"] / role).resolve())
        controller.ask(role, "load_state", folder=folder, iterations=latest["iterations"])
    if GENERATOR in plan.strategies:
        controller.sync()


def finished_iterations(plan: Plan, out: Path) -> int:
    """Iterations before the last checkpoint of a run directory.

    Raises
    ------
    SpecError
        When there is no checkpoint.
    PlanMismatchError
        When the run was of another scenario.
    """
    latest = out / FOLDER / LATEST
    if not latest.is_file():
        raise SpecError(f"{latest}: no such file, so there is nothing to resume; run without --resume")
    different = list(_differences(plan.scenario, read_plan(out / "plan.json").scenario))
    if different:
        raise PlanMismatchError(
            f"{out / 'plan.json'}: the run there has another scenario.{different[0]}; resume it with its own "
            "plan, or choose another folder"
        )
    return int(load_json(latest)["iterations"])


def _kept_roles(plan: Plan) -> list[str]:
    """Roles with something that changes: weights, coefficients, prompts under way."""
    trained = [role for role, strategy in plan.strategies.items() if strategy.train is not None]
    return [*trained, CONTROLLER, *({GENERATOR} & {*plan.strategies})]


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
