"""What commands are asked about: a scenario file, a plan file, or a few words on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import planner
from hybridmap.demands import demanded_settings, search_settings
from hybridmap.settings import Setting, parse_settings, with_settings
from planner.algorithms import ALGORITHMS, dataflow_of, trace
from planner.domain.algorithm import least_group
from planner.domain.capabilities import RUNTIME
from planner.domain.catalog import read_model
from planner.domain.contradictions import check_roles
from planner.domain.profile import Profile
from planner.domain.reading import Keys, find_scenario, parse_scenario, read_keys
from planner.domain.runnable import scenario_refusals
from planner.domain.text import load_json, refuse_unwritable
from planner.errors import InfeasibleError, SpecError

_DEFAULT_ALGORITHM = "ppo"
_DEFAULT_WORKLOAD = {"prompts": 1024, "prompt_tokens": 1024, "response_tokens": 1024, "mini_batches": 8}
"""HybridFlow's evaluation (section 8.1); `--set workload.prompts=...` says otherwise."""
_DESCRIPTIONS = ("model", "cluster", "algorithm")
"""Options that describe a scenario without a file."""
_CAPABILITIES = "capabilities"
_GROUPS = {"prompts": 64, "samples_per_prompt": 16}
"""The same number of samples, for algorithms that compare those of one prompt."""


def add_scenario(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name a scenario, or describe one without a file."""
    parser.add_argument("scenario", nargs="?", type=Path, metavar="SCENARIO", help="a scenario file (YAML)")
    add_descriptions(parser)
    add_settings(parser)


def add_descriptions(parser: argparse.ArgumentParser) -> None:
    """Add the options that describe a scenario without a file."""
    parser.add_argument("--model", help="without a file: the model of all roles, by name or config.json")
    parser.add_argument("--cluster", help="without a file: nodes x devices x device, as 8x8xh100-sxm-80gb")
    parser.add_argument("--algorithm", help=f"without a file: {_DEFAULT_ALGORITHM} by default")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add ``--set``."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="change one key of the scenario, as workload.prompts=512; may be repeated",
    )


def add_folder(parser: argparse.ArgumentParser, words: str) -> None:
    """Add ``--out``, the folder that answers are written to."""
    parser.add_argument("--out", type=_path, metavar="DIR", help=words)


def add_out(parser: argparse.ArgumentParser, words: str, *, name: str = "FILE") -> None:
    """Add ``--out``, the file that an answer is written to."""
    parser.add_argument("--out", type=_path, metavar=name, help=words)


def refuse_out(options: argparse.Namespace) -> None:
    """Raise SpecError where ``--out`` cannot be written, before anything is computed for it."""
    if options.out:
        refuse_places(options, options.out)


def refuse_places(options: argparse.Namespace, *paths: Path) -> None:
    """Raise SpecError where nothing can be written to, or where the file lies that is asked about."""
    for path in paths:
        refuse_unwritable(path)
        if options.scenario and path.resolve() == options.scenario.resolve():
            raise SpecError(f"{path}: is what is asked about and would be lost; give another name")


def is_plan(path: Path) -> bool:
    """Whether a file is a plan rather than a scenario: by its name, or by what is in it."""
    return path.suffix == ".json" or (path.is_file() and _has_pools(path))


def _has_pools(path: Path) -> bool:
    try:
        value = load_json(path)
    except SpecError:
        return False
    return isinstance(value, dict) and {"pools", "strategies"} <= set(value)


def read_sound_plan(path: Path, *, profiles: Sequence[Profile] = ()) -> planner.Plan:
    """The plan in a file, certified.

    Raises
    ------
    SpecError
        The file is no plan, or its plan breaks rules: all of them.
    """
    plan = planner.read_plan(path)
    planner.check_plan(plan, where=str(path), profiles=profiles)
    return plan


def scenario_of(options: argparse.Namespace) -> planner.Scenario:
    """The scenario that the command line names or describes, changed as its options say.

    It has the roles of its algorithm.
    """
    scenario = _unplaced_scenario(options)
    placement = getattr(options, "placement", None)
    return planner.fixed_placement(scenario, placement) if placement else scenario


def best_plan(
    options: argparse.Namespace, scenario: planner.Scenario, profiles: Sequence[Profile] = ()
) -> planner.SearchResult:
    """The best plan of the scenario of the command line; where there is none, what its options have to say.

    Raises
    ------
    InfeasibleError
        No plan fits, with ``--placement`` in its name.
    """
    try:
        return planner.plan(scenario, settings=search_settings(options), profiles=profiles)
    except InfeasibleError as error:
        if not getattr(options, "placement", None):
            raise
        asked = _unplaced_scenario(options)
        demands = {key: getattr(asked, key) for key in ("pin", "colocate", "apart")}
        placements = import_module("planner.studies.placements")  # and with it the solvers
        raise placements.placement_refusal(
            error, scenario.model_copy(update=demands), options.placement
        ) from None


def refuse_settings(options: argparse.Namespace) -> None:
    """Raise SpecError where options would change the scenario of a plan that is there already."""
    if given := parse_settings(options.settings):
        raise SpecError(
            f"{options.scenario}: {given[0].option} changes a scenario; a plan is made for one already"
        )
    refuse_demands(options)


def demands_around(options: argparse.Namespace, keys: Collection[str]) -> tuple[list[Setting], list[Setting]]:
    """Changes that options stand for: those that come before changes of some keys, and those after.

    What a runtime can do comes first, so that it may be changed key by key.
    """
    demanded = demanded_settings(options)
    runnable = [setting for setting in demanded if setting.key == _CAPABILITIES]
    if runnable and _CAPABILITIES in keys:
        raise SpecError(
            f"command line: --runnable and --set {_CAPABILITIES}=... contradict each other; give one, or "
            f"--runnable and single keys, as --set {_CAPABILITIES}.offload=true"
        )
    return runnable, [setting for setting in demanded if setting not in runnable]


def refuse_demands(options: argparse.Namespace) -> None:
    """Raise SpecError where options say which plan is the best, or for what, and a plan is there already."""
    changed = [setting.option for setting in demanded_settings(options)]
    changed += [f"--{name}" for name in ("placement", *_DESCRIPTIONS) if getattr(options, name, None)]
    if changed:
        raise SpecError(
            f"{options.scenario}: {changed[0]} changes a scenario; a plan is made for one already"
        )


def _settings(options: argparse.Namespace) -> list[Setting]:
    """All changes of keys."""
    given = parse_settings(options.settings)
    before, after = demands_around(options, [setting.key for setting in given])
    return [*before, *given, *after]


def _unplaced_scenario(options: argparse.Namespace) -> planner.Scenario:
    found = written_keys(options)
    value = with_settings(found.value, _settings(options))
    scenario = parse_scenario(value, where=found.where, relative_to=found.relative_to)
    check_roles(scenario, dataflow_of(scenario), where=found.where)
    return scenario


def written_keys(options: argparse.Namespace) -> Keys:
    """What the command line names or describes.

    Raises
    ------
    SpecError
        It does both or neither, or the file has no keys.
    """
    if not options.scenario:
        return _described_keys(options)
    if both := [f"--{name}" for name in _DESCRIPTIONS if getattr(options, name, None)]:
        raise SpecError(
            f"{options.scenario}: give either a scenario file or {' and '.join(both)}, not both"
            + ("; --set algorithm=... changes a file's" if both == ["--algorithm"] else "")
        )
    return read_keys(find_scenario(options.scenario))


def runnable_scenario(options: argparse.Namespace) -> planner.Scenario:
    """The scenario, checked for what a run needs beyond a plan, and restricted to what the runtime can do."""
    scenario = scenario_of(options)
    where = options.scenario
    can = scenario.capabilities or RUNTIME
    scenario = scenario.model_copy(update={"capabilities": can})
    if problems := [f"{where}: {problem}" for problem in scenario_refusals(can, scenario)]:
        raise SpecError("\n".join(problems))
    if scenario.run is None:
        raise SpecError(f"{where}: run: missing; a run needs at least its prompts, see `hybridmap new`")
    for role, model in scenario.models.items():
        if model.folder is None:
            raise SpecError(
                f"{where}: models.{role}: {model.name} has no weights; name a Hugging Face folder"
            )
    return scenario


def runtime_rooms() -> Any:
    """The runtime, loaded only by the commands that touch a device."""
    try:
        import_module("runtime.execution")  # and with it torch and Ray, which may be missing
        return import_module("runtime")
    except ModuleNotFoundError as error:
        install = "pip install 'hybridmap[cpu]', or [gpu]"
        raise SpecError(f"this command needs the package {error.name!r}: {install}") from None


def _described_keys(options: argparse.Namespace) -> Keys:
    if not options.model or not options.cluster:
        raise SpecError("command line: name a scenario file, or give both --model and --cluster")
    _check_model(options.model)
    algorithm = options.algorithm or _DEFAULT_ALGORITHM
    if algorithm not in ALGORITHMS:
        known = ", ".join(ALGORITHMS)
        raise SpecError(f"command line: --algorithm: {algorithm!r} is not one of {known}")
    roles = trace(ALGORITHMS[algorithm], name=algorithm).roles
    value = {
        "name": f"{algorithm}-{Path(options.model).name}",
        "algorithm": algorithm,
        "models": dict.fromkeys(roles, options.model),
        "cluster": options.cluster,
        "workload": _DEFAULT_WORKLOAD | (_GROUPS if least_group(algorithm) > 1 else {}),
    }
    return Keys(value, "command line", Path())


def _check_model(name: str) -> None:
    """Refuse an unknown model once, not once for each role."""
    try:
        read_model(name, relative_to=Path())
    except SpecError as error:
        raise SpecError(f"command line: --model: {error}") from None


def _path(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("give a name; it is empty")
    return Path(text)
