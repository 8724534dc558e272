"""Read scenarios and plans, all mistakes at once; write plans and timelines."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from planner.domain.catalog import (
    SHIPPED,
    read_device,
    read_generation_stack,
    read_model,
    read_training_stack,
)
from planner.domain.cluster import DeviceSpec
from planner.domain.contradictions import contradictions
from planner.domain.mistakes import Path as KeyPath
from planner.domain.mistakes import describe, describe_errors
from planner.domain.plan import Plan
from planner.domain.profile import Profile
from planner.domain.quantities import Value
from planner.domain.run import RewardFunctionSettings, missing_function
from planner.domain.scenario import Scenario
from planner.domain.text import dump_json, load_json, load_yaml, write_lines, write_text
from planner.domain.timeline import Origin, Span, Timeline
from planner.domain.traces import COLUMNS, read_lengths
from planner.errors import SpecError

_T = TypeVar("_T", bound=Value)

_DEFAULT_STACK = {"training": "megatron-core", "generation": "vllm"}
_CPU_STACK = {"training": "megatron-core-cpu", "generation": "vllm-cpu"}

_CLUSTER = re.compile(r"(\d+)x(\d+)x(.+)")
_DEFAULT_NETWORK = {"bandwidth": "25 GB/s", "latency": "10 us"}
"""One 200 Gbit/s port per node, as in HybridFlow's evaluation; a scenario says otherwise."""


class Keys(NamedTuple):
    """The keys of a scenario as they are written, before any name is looked up."""

    value: dict[str, Any]
    where: str
    """What messages about them start with."""
    relative_to: Path
    """The folder that paths in them start from."""


def read_scenario(path: Path | str) -> Scenario:
    """The scenario in a YAML file; names of devices and models are looked up, paths are relative to the file.

    Raises
    ------
    SpecError
        Lists every mistake of the file, one a line: file, key path, what is wrong, the nearest valid key.
        Keys that contradict each other follow once each of them is right by itself.
    """
    found = read_keys(find_scenario(Path(path)))
    return parse_scenario(found.value, where=found.where, relative_to=found.relative_to)


def read_keys(path: Path) -> Keys:
    """The keys of a scenario's file; raises SpecError where it has none."""
    value = load_yaml(path)
    if not isinstance(value, dict):
        found = "nothing" if value is None else type(value).__name__
        raise SpecError(f"{path}: expected a mapping with keys such as name, models, cluster; found {found}")
    return Keys(value, str(path), path.parent)


def parse_scenario(value: dict[str, Any], *, where: str, relative_to: Path) -> Scenario:
    """A scenario of the keys of its file."""
    resolution = _Resolution(relative_to)
    resolved = resolution.scenario(value)
    mistakes = [describe(path, message, where=where) for path, message in resolution.mistakes]
    broken = [path for path, _ in resolution.mistakes]
    try:
        scenario = Scenario.model_validate(resolved)
    except ValidationError as error:
        mistakes += describe_errors(error, where=where, root=Scenario, besides=broken)
        raise SpecError("\n".join(mistakes)) from None
    mistakes += [describe(path, message, where=where) for path, message in contradictions(scenario)]
    if mistakes:
        raise SpecError("\n".join(mistakes))
    return scenario


def find_scenario(path: Path) -> Path:
    """The file itself, or the shipped one of that path when the working directory has none."""
    shipped = SHIPPED / path
    return shipped if not path.exists() and not path.is_absolute() and shipped.is_file() else path


def read_plan(path: Path | str) -> Plan:
    """The plan in a ``plan.json``."""
    return _read_json(Plan, Path(path))


def read_profile(path: Path | str) -> Profile:
    """The measurements in a profile file."""
    return _read_json(Profile, Path(path))


def read_timeline(path: Path | str) -> Timeline:
    """The spans in a timeline file."""
    return _read_json(Timeline, Path(path))


def write_plan(plan: Plan, path: Path) -> None:
    """Write ``plan.json``: sorted keys, whole or not at all."""
    write_text(path, dump_json(plan.model_dump(mode="json")))


def write_timeline(path: Path, origin: Origin, spans: Iterable[Span]) -> None:
    """Write a timeline file, a span a line: whole or not at all, and never whole in memory."""
    write_lines(path, _timeline_lines(origin, spans))


def parse_cluster(text: str) -> dict[str, Any]:
    """The cluster that a short text names: nodes x devices per node x device.

    >>> parse_cluster("2x8xa100-sxm-80gb")["node_pools"][0]["nodes"]
    2
    """
    match = _CLUSTER.fullmatch(text.strip())
    if match is None:
        raise SpecError(f"{text!r} is not a cluster such as '16x8xa100-sxm-80gb' (nodes x devices x device)")
    nodes, devices, device = match.groups()
    pool = {"name": "pool", "nodes": int(nodes), "devices_per_node": int(devices), "device": device}
    return {"name": text.strip(), "node_pools": [pool]}


def _timeline_lines(origin: Origin, spans: Iterable[Span]) -> Iterator[str]:
    yield f'{{"origin": "{origin}", "spans": ['
    lines = (span.model_dump_json() for span in spans)
    line = next(lines, "")
    for following in lines:
        yield f"{line},"
        line = following
    yield f"{line}]}}"


def _read_json(kind: type[_T], path: Path) -> _T:
    try:
        return kind.model_validate(load_json(path))
    except ValidationError as error:
        raise SpecError("\n".join(describe_errors(error, where=str(path), root=kind))) from None


class _Resolution:
    """Replaces names by what they stand for, and collects what could not be found."""

    def __init__(self, relative_to: Path) -> None:
        self.relative_to = relative_to
        self.mistakes: list[tuple[KeyPath, str]] = []

    def scenario(self, value: dict[str, Any]) -> dict[str, Any]:
        value = {str(key): item for key, item in value.items()}
        if "models" in value:
            value["models"] = self._models(value["models"])
        if "cluster" in value:
            value["cluster"] = self._cluster(value["cluster"])
        if isinstance(work := value.get("workload"), dict):
            value["workload"] = {key: self._lengths(str(key), item) for key, item in work.items()}
        value["stack"] = self._stack(value.get("stack", {}), value.get("cluster"))
        if isinstance(run := value.get("run"), dict):
            value["run"] = {key: self._run_value(str(key), item) for key, item in run.items()}
        return value

    def _models(self, value: Any) -> Any:
        if not isinstance(value, dict):
            self.mistakes.append(
                (("models",), "expected a mapping such as {actor: llama-2-7b, critic: llama-2-7b}")
            )
            return {}
        return {str(role): self._model(str(role), item) for role, item in value.items()}

    def _model(self, role: str, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return read_model(value, relative_to=self.relative_to)
        except SpecError as error:
            self.mistakes.append((("models", role), str(error)))
            return None

    def _lengths(self, key: str, value: Any) -> Any:
        """Lengths with the trace that they name read; anything else as it is."""
        if key not in COLUMNS or not isinstance(value, dict) or not isinstance(value.get("trace"), str):
            return value
        rest = {name: item for name, item in value.items() if name != "column"}
        try:
            column = value.get("column")
            path = self.relative_to / value["trace"]
            return {**rest, "trace": read_lengths(path, kind=key, column=column and str(column))}
        except SpecError as error:
            self.mistakes.append((("workload", key, "trace"), str(error)))
            return 1

    def _cluster(self, value: Any) -> Any:
        if isinstance(value, str):
            try:
                value = parse_cluster(value)
            except SpecError as error:
                self.mistakes.append((("cluster",), str(error)))
                return None
        if not isinstance(value, dict) or not isinstance(value.get("node_pools"), list):
            return value
        pools = [self._node_pool(index, pool) for index, pool in enumerate(value["node_pools"])]
        return {**value, "node_pools": pools}

    def _node_pool(self, index: int, pool: Any) -> Any:
        if not isinstance(pool, dict):
            return pool
        pool = {"network": _DEFAULT_NETWORK, **pool}
        if isinstance(pool.get("device"), str):
            try:
                pool["device"] = read_device(pool["device"])
            except SpecError as error:
                self.mistakes.append((("cluster", "node_pools", index, "device"), str(error)))
                pool["device"] = None
        return pool

    def _stack(self, value: Any, cluster: Any) -> Any:
        """Engines by name; those left out are Megatron-Core and vLLM as they run on the cluster's devices."""
        if not isinstance(value, dict):
            self.mistakes.append((("stack",), "expected a mapping such as {generation: vllm-0.3.1}"))
            value = {}
        pools = cluster.get("node_pools") if isinstance(cluster, dict) else None
        on_cpu = isinstance(pools, list) and any(map(_is_cpu, pools))
        names = _CPU_STACK if on_cpu else _DEFAULT_STACK
        readers = {"training": read_training_stack, "generation": read_generation_stack}
        stack = {**names, **value}
        for part, read in readers.items():
            if isinstance(stack[part], str):
                try:
                    stack[part] = read(stack[part])
                except SpecError as error:
                    self.mistakes.append((("stack", part), str(error)))
                    stack[part] = read(names[part])
        return stack

    def _run_value(self, key: str, value: Any) -> Any:
        """A setting of the run, its paths made absolute."""
        if key in ("prompts", "pretraining"):
            if isinstance(value, str):
                return self._existing_file(value, ("run", key))
            if isinstance(value, list):
                return [
                    self._existing_file(item, ("run", key, index)) if isinstance(item, str) else item
                    for index, item in enumerate(value)
                ]
        if key.endswith("_function") and isinstance(value, dict) and isinstance(value.get("path"), str):
            return self._reward_function(key, value)
        return value

    def _reward_function(self, key: str, value: dict[str, Any]) -> dict[str, Any]:
        """A reward function whose file is there and defines it."""
        found = len(self.mistakes)
        value = {**value, "path": self._existing_file(value["path"], ("run", key, "path"))}
        name = value.get("name", RewardFunctionSettings.model_fields["name"].default)
        if len(self.mistakes) == found and isinstance(name, str):
            problem = missing_function(RewardFunctionSettings(path=value["path"], name=name))
            if problem is not None:
                self.mistakes.append((("run", key), problem))
        return value

    def _existing_file(self, text: str, key: KeyPath) -> str:
        path = self.relative_to / text
        if not path.is_file():
            self.mistakes.append((key, f"no such file: {path}"))
        return str(path.resolve())


def _is_cpu(pool: Any) -> bool:
    device = pool.get("device") if isinstance(pool, dict) else None
    return isinstance(device, DeviceSpec) and device.kind == "cpu"


def scenario_files() -> Iterator[Path]:
    """Shipped scenarios, relative to where they are found from any working directory."""
    for path in sorted((SHIPPED / "scenarios").rglob("*.yaml")):
        yield path.relative_to(SHIPPED)
