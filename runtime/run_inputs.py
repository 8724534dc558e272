"""What a run reads besides its plan: whether it is there, said before any process starts."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from planner.algorithms import dataflow_of
from planner.domain.mistakes import format_path
from planner.domain.run import TRACKER_PACKAGES, RunSettings, missing_function
from planner.domain.scenario import Scenario
from planner.errors import SpecError


def check_inputs(scenario: Scenario) -> None:
    """Refuse a scenario whose run lacks a file, a reward function, or a package.

    Raises
    ------
    SpecError
        Lists all that is missing, one a line, each with its key.
    """
    settings = scenario.run
    if settings is None:
        return
    problems = [
        *_files(settings),
        *_functions(scenario, settings),
        *_packages(settings),
        *_pretraining(scenario, settings),
    ]
    if problems:
        raise SpecError("\n".join(f"{scenario.name}: {problem}" for problem in problems))


def _files(settings: RunSettings) -> Iterator[str]:
    for key, path in settings.files:
        if not Path(path).is_file():
            yield f"run.{format_path(key)}: no such file: {path}"


def _functions(scenario: Scenario, settings: RunSettings) -> Iterator[str]:
    for role in scenario.services:
        if role not in settings.functions:
            yield f"run.{role}_function: missing; {role} is a service, say {{path: FILE.py}}"
    for role, function in settings.functions.items():
        problem = missing_function(function) if Path(function.path).is_file() else None
        if problem is not None:
            yield f"run.{role}_function: {problem}"


def _packages(settings: RunSettings) -> Iterator[str]:
    for name in settings.trackers:
        package = TRACKER_PACKAGES.get(name)
        if package is not None and find_spec(package) is None:
            yield f"run.trackers: {name} is not installed; `pip install {package}`, or leave it out"


def _pretraining(scenario: Scenario, settings: RunSettings) -> Iterator[str]:
    learns = any(call.work == "samples and pretraining" for call in dataflow_of(scenario).calls)
    if learns and scenario.workload.pretraining_tokens != 0 and not settings.pretraining:
        yield (
            f"run.pretraining: missing; {scenario.algorithm.name} learns from pretraining data as well, give "
            "files with a column text, or workload.pretraining_tokens: 0"
        )
