"""What commands are asked about: a scenario file, a plan file, or a few words on the command line."""

import argparse
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

import planner
from planner.algorithms import ALGORITHMS, trace
from planner.domain.reading import find_scenario, parse_scenario
from planner.domain.text import load_yaml
from planner.errors import SpecError

_DEFAULT_WORKLOAD = {"prompts": 1024, "prompt_tokens": 1024, "response_tokens": 1024, "mini_batches": 8}
"""HybridFlow's evaluation (section 8.1); `--set workload.prompts=...` says otherwise."""


def add_scenario(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name a scenario, or describe one without a file."""
    parser.add_argument("scenario", nargs="?", type=Path, metavar="SCENARIO", help="a scenario file (YAML)")
    parser.add_argument("--model", help="without a file: the model of all roles, by name or config.json")
    parser.add_argument("--cluster", help="without a file: nodes x devices x device, as 8x8xh100-sxm-80gb")
    parser.add_argument("--algorithm", default="ppo", help="without a file: %(default)s by default")
    add_settings(parser)


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


def is_plan(path: Path) -> bool:
    """Whether a file is a plan rather than a scenario."""
    return path.suffix == ".json"


def scenario_of(options: argparse.Namespace) -> planner.Scenario:
    """The scenario that the command line names or describes."""
    if options.scenario is None:
        return _described_scenario(options)
    if getattr(options, "model", None) or getattr(options, "cluster", None):
        raise SpecError(f"{options.scenario}: give either a scenario file or --model and --cluster, not both")
    if not options.settings:
        return planner.read_scenario(options.scenario)
    path = find_scenario(options.scenario)
    value = load_yaml(path)
    if not isinstance(value, dict):
        return planner.read_scenario(path)
    return parse_scenario(_with_settings(value, options.settings), where=str(path), relative_to=path.parent)


def runnable_scenario(options: argparse.Namespace) -> planner.Scenario:
    """The scenario, checked for what a run needs beyond a plan."""
    scenario = scenario_of(options)
    where = options.scenario
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


def _described_scenario(options: argparse.Namespace) -> planner.Scenario:
    if not options.model or not options.cluster:
        raise SpecError("command line: name a scenario file, or give both --model and --cluster")
    if options.algorithm not in ALGORITHMS:
        known = ", ".join(ALGORITHMS)
        raise SpecError(f"command line: --algorithm: {options.algorithm!r} is not one of {known}")
    roles = trace(ALGORITHMS[options.algorithm], name=options.algorithm).roles
    value = {
        "name": f"{options.algorithm}-{Path(options.model).name}",
        "algorithm": options.algorithm,
        "models": dict.fromkeys(roles, options.model),
        "cluster": options.cluster,
        "workload": _DEFAULT_WORKLOAD,
    }
    return parse_scenario(_with_settings(value, options.settings), where="command line", relative_to=Path())


def _with_settings(value: dict[str, Any], settings: list[str]) -> dict[str, Any]:
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise SpecError(f"command line: --set {setting!r}: write KEY=VALUE, as workload.prompts=512")
        try:
            parsed = yaml.safe_load(text)
        except yaml.YAMLError:
            raise SpecError(f"command line: --set {key}: {text!r} is not a value") from None
        value = _replaced(value, key.split("."), parsed, key)
    return value


def _replaced(value: Any, keys: list[str], setting: Any, whole: str) -> Any:
    first, rest = keys[0], keys[1:]
    if isinstance(value, list):
        if not first.isdigit() or int(first) >= len(value):
            raise SpecError(
                f"command line: --set {whole}: {first!r} is not an entry of a list of {len(value)}"
            )
        return [
            _next(item, rest, setting, whole) if i == int(first) else item for i, item in enumerate(value)
        ]
    if not isinstance(value, dict):
        raise SpecError(f"command line: --set {whole}: there are no keys inside {value!r}")
    if first == "pin":
        return {**value, "pin": {**value.get("pin", {}), ".".join(rest): setting}}
    return {**value, first: _next(value.get(first, {}), rest, setting, whole)}


def _next(value: Any, rest: list[str], setting: Any, whole: str) -> Any:
    return _replaced(value, rest, setting, whole) if rest else setting
