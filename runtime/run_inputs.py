"""What a run reads besides its plan: whether it is there and sound, said before any process starts."""

from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from planner.algorithms import dataflow_of
from planner.domain.mistakes import format_path
from planner.domain.run import TRACKER_PACKAGES, RewardFunctionSettings, RunSettings, missing_function
from planner.domain.scenario import Scenario
from planner.errors import SpecError
from runtime.data import Prompt, Text, prompts_of, shortened, texts_of
from runtime.reward_parameters import signature_for, written_parameters


def check_inputs(scenario: Scenario) -> None:
    """Refuse a scenario whose run lacks a file, a reward function, or a package, or has wrong ones.

    Files of prompts and pretraining data are read. Of a reward function the code is read, not run.

    Raises
    ------
    SpecError
        Lists all that is missing or wrong, one a line, each with its key.
    """
    settings = scenario.run
    if settings is None:
        return
    prompts, wrong_prompts = _rows("prompts", settings.prompts, lambda: prompts_of(settings))
    texts, wrong_texts = _rows("pretraining", settings.pretraining, lambda: texts_of(settings))
    problems = [
        *_files(settings),
        *wrong_prompts,
        *wrong_texts,
        *_functions(scenario, settings, prompts),
        *_packages(settings),
        *_pretraining(scenario, settings),
        *_unknown_tokens(texts, scenario.models["actor"].vocab),
    ]
    if problems:
        raise SpecError("\n".join(f"{scenario.name}: {problem}" for problem in problems))


def _files(settings: RunSettings) -> Iterator[str]:
    for key, path in settings.files:
        if not Path(path).is_file():
            yield f"run.{format_path(key)}: no such file: {path}"


def _rows(
    key: str, paths: Sequence[str], read: Callable[[], Sequence[Any]]
) -> tuple[Sequence[Any], list[str]]:
    """What files hold, or what is wrong in them; neither where one is missing."""
    if not all(Path(path).is_file() for path in paths):
        return [], []
    try:
        return read(), []
    except SpecError as error:
        return [], [f"run.{key}: {complaint}" for complaint in str(error).splitlines()]


def _functions(scenario: Scenario, settings: RunSettings, prompts: Sequence[Prompt]) -> Iterator[str]:
    for role in scenario.services:
        if role not in settings.functions:
            yield f"run.{role}_function: missing; {role} is a service, say {{path: FILE.py}}"
    for role, function in settings.functions.items():
        if not Path(function.path).is_file():
            continue
        problem = missing_function(function) or _wrong_parameters(function, prompts)
        if problem is not None:
            yield f"run.{role}_function: {problem}"


def _wrong_parameters(function: RewardFunctionSettings, prompts: Sequence[Prompt]) -> str | None:
    """Why a function can't be called, as far as its code shows; what it is called with depends on prompts."""
    parameters = written_parameters(function)
    if parameters is None or not prompts:
        return None
    try:
        signature_for(function, parameters, prompts)
    except SpecError as error:
        return str(error)
    return None


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


def _unknown_tokens(texts: Sequence[Text], vocab: int) -> list[str]:
    """Tokens of pretraining data that the actor has no embedding for."""
    complaints = [
        f"{text.where}: tokens: has {max(text.tokens)}; the actor's are 0 to {vocab - 1}"
        for text in texts
        if text.tokens is not None and max(text.tokens) >= vocab
    ]
    return [f"run.pretraining: {line}" for line in shortened(complaints).splitlines()]
