"""What commands are asked about: a scenario file, a plan file, or a few words on the command line."""

import argparse
from importlib import import_module
from pathlib import Path
from typing import Any

import planner
from hybridmap.demands import demanded_settings
from hybridmap.settings import Setting, parse_settings, with_settings
from planner.algorithms import ALGORITHMS, trace
from planner.domain.algorithm import least_group
from planner.domain.capabilities import RUNTIME
from planner.domain.reading import find_scenario, parse_scenario
from planner.domain.runnable import scenario_refusals
from planner.domain.text import load_yaml
from planner.errors import SpecError

_DEFAULT_WORKLOAD = {"prompts": 1024, "prompt_tokens": 1024, "response_tokens": 1024, "mini_batches": 8}
"""HybridFlow's evaluation (section 8.1); `--set workload.prompts=...` says otherwise."""
_GROUPS = {"prompts": 64, "samples_per_prompt": 16}
"""The same number of samples, for algorithms that compare those of one prompt."""


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
    """The scenario that the command line names or describes, changed as its options say."""
    scenario = _written_scenario(options) if options.scenario else _described_scenario(options)
    placement = getattr(options, "placement", None)
    return planner.fixed_placement(scenario, placement) if placement else scenario


def refuse_settings(options: argparse.Namespace) -> None:
    """Raise SpecError where options would change the scenario of a plan that is there already."""
    changed = [setting.option for setting in _settings(options)]
    changed += ["--placement"] if getattr(options, "placement", None) else []
    if changed:
        raise SpecError(
            f"{options.scenario}: {changed[0]} changes a scenario; a plan is made for one already"
        )


def _settings(options: argparse.Namespace) -> list[Setting]:
    return [*parse_settings(options.settings), *demanded_settings(options)]


def _written_scenario(options: argparse.Namespace) -> planner.Scenario:
    if getattr(options, "model", None) or getattr(options, "cluster", None):
        raise SpecError(f"{options.scenario}: give either a scenario file or --model and --cluster, not both")
    path, settings = find_scenario(options.scenario), _settings(options)
    value = load_yaml(path) if settings else None
    if not isinstance(value, dict):
        return planner.read_scenario(path)
    return parse_scenario(with_settings(value, settings), where=str(path), relative_to=path.parent)


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
        "workload": _DEFAULT_WORKLOAD | (_GROUPS if least_group(options.algorithm) > 1 else {}),
    }
    return parse_scenario(with_settings(value, _settings(options)), where="command line", relative_to=Path())
