"""``hybridmap list``: the models, devices, engines, algorithms and scenarios that can be named."""

import argparse
from collections.abc import Iterable
from typing import Any

from hybridmap import screen
from planner.algorithms import ALGORITHMS, trace
from planner.domain.catalog import (
    device_names,
    generation_stack_names,
    model_names,
    read_device,
    read_generation_stack,
    read_model,
    read_training_stack,
    training_stack_names,
)
from planner.domain.cluster import DeviceSpec
from planner.domain.fits import FitRecord, FlatFit
from planner.domain.reading import scenario_files
from planner.reporting.tables import name_table
from planner.units import format_bytes, format_bytes_per_s, format_flops_per_s

_KINDS = ("models", "devices", "stacks", "algorithms", "scenarios")


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser("list")
    parser.add_argument("kind", nargs="?", choices=_KINDS, help="all of them by default")
    screen.add_json(parser)
    parser.set_defaults(command=list_known)


def list_known(options: argparse.Namespace) -> None:
    """Show the catalogs."""
    tables = {
        "models": (("model", "family", "parameters", "layers", "hidden", "heads", "vocabulary"), _models),
        "devices": (("device", "aliases", "memory", "bf16 peak", "bandwidth", "link", "kernels"), _devices),
        "stacks": (("engine", "aliases", "for", "constants"), _stacks),
        "algorithms": (("algorithm", "roles", "calls"), _algorithms),
        "scenarios": (("scenario",), _scenarios),
    }
    known: dict[str, list[str]] = {}
    for kind in [options.kind] if options.kind else _KINDS:
        columns, rows_of = tables[kind]
        rows = list(rows_of())
        known[kind] = [row[0] for row in rows]
        screen.show(options, name_table(kind, columns, rows))
    screen.answer(options, known)


def _models() -> Iterable[tuple[str, ...]]:
    for model in map(read_model, model_names()):
        heads = f"{model.heads} ({model.kv_heads} kv) x {model.head_dim}"
        size = f"{model.parameters() / 1e9:.2f} B"
        yield model.name, model.family, size, str(model.layers), str(model.hidden), heads, str(model.vocab)


def _devices() -> Iterable[tuple[str, ...]]:
    for device in map(read_device, device_names()):
        peak = format_flops_per_s(device.peak["bf16"]) if "bf16" in device.peak else ""
        yield (
            device.name,
            ", ".join(device.aliases),
            format_bytes(device.memory),
            peak,
            format_bytes_per_s(device.memory_bandwidth),
            format_bytes_per_s(device.link.bandwidth),
            _origin(device),
        )


def _origin(device: DeviceSpec) -> str:
    """Where the device's kernels come from."""
    if device.kernels.relative:
        return f"those of {device.kernels.relative}"
    return "stated" if isinstance(device.kernels.gemm, FlatFit) else "measured"


def _stacks() -> Iterable[tuple[str, ...]]:
    for training in map(read_training_stack, training_stack_names()):
        yield training.name, ", ".join(training.aliases), "training", _constants(training.record)
    for generation in map(read_generation_stack, generation_stack_names()):
        yield generation.name, ", ".join(generation.aliases), "generation", _constants(generation.record)


def _constants(record: FitRecord | None) -> str:
    if record is None:
        return "stated"
    return f"fitted, {100 * record.held_out.mape:.1f} % off on held-out rows"


def _algorithms() -> Iterable[tuple[str, ...]]:
    for name, algorithm in ALGORITHMS.items():
        graph = trace(algorithm, name=name)
        yield name, ", ".join(graph.roles), " ".join(call.name for call in graph.calls)


def _scenarios() -> Iterable[tuple[str, ...]]:
    for path in scenario_files():
        yield (str(path),)
