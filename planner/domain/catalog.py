"""Facts by name: devices and models, from the user's ``profiles/`` first, then from those shipped."""

import re
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from planner.domain.cluster import DeviceSpec
from planner.domain.mistakes import closest, describe_errors
from planner.domain.model import ModelSpec
from planner.domain.model_config import model_from_config
from planner.domain.model_names import matching_models, shape_name
from planner.domain.stack import GenerationStack, TrainingStack
from planner.domain.text import load_json, load_yaml
from planner.errors import SpecError, UnknownNameError

SHIPPED = Path(__file__).resolve().parents[2]
"""The folder that ``profiles`` and ``scenarios`` lie in, in a checkout as in an installed wheel."""

_Named = TypeVar("_Named", DeviceSpec, TrainingStack, GenerationStack)


def device_names() -> list[str]:
    """Canonical names of all devices known here."""
    return sorted(_files("devices", ".yaml"))


def model_names() -> list[str]:
    """Names of all catalog models known here."""
    return sorted(_files("models", ".json"))


def training_stack_names() -> list[str]:
    """Names of all training engines known here."""
    return sorted(_files("stacks/training", ".yaml"))


def generation_stack_names() -> list[str]:
    """Names of all serving engines known here."""
    return sorted(_files("stacks/generation", ".yaml"))


def read_device(name: str) -> DeviceSpec:
    """The catalog device of that name or alias, without regard to case, ``-`` and ``_``."""
    return _with_relative(_by_name("devices", name, DeviceSpec))


def read_training_stack(name: str) -> TrainingStack:
    """The catalog's training engine of that name or alias."""
    return _by_name("stacks/training", name, TrainingStack)


def read_generation_stack(name: str) -> GenerationStack:
    """The catalog's serving engine of that name or alias."""
    return _by_name("stacks/generation", name, GenerationStack)


def read_model(reference: str, *, relative_to: Path | None = None) -> ModelSpec:
    """A catalog model by name, or any ``config.json`` (or its folder) by path.

    Names may be written as measured rows and hubs do, with organisation and variant.

    Raises
    ------
    UnknownNameError
        Nothing, or more than one model, is called so.
    """
    files = _files("models", ".json")
    for stem, path in files.items():
        if _plain(stem) == _plain(reference):
            return _read_shipped(path)
    path = (relative_to or Path()) / reference
    if path.is_dir():
        path = path / "config.json"
    if path.is_file():
        folder = path.parent.resolve()
        has_weights = any(folder.glob("*.safetensors"))
        return model_from_config(
            load_json(path), name=folder.name, where=str(path), folder=str(folder) if has_weights else None
        )
    names = matching_models(reference, {stem: _model_aliases(path) for stem, path in files.items()})
    if len(names) == 1:
        return _read_shipped(files[names[0]])
    if names:
        raise UnknownNameError(f"{reference!r} can be any of {', '.join(names)}; write one of these names")
    raise UnknownNameError(
        f"no model {reference!r}{closest(shape_name(reference), files)}; write a catalog name "
        "(`hybridmap list models`) or the path of a config.json"
    )


def _read_shipped(path: Path) -> ModelSpec:
    return _model_as_of(path, _age(path))


@lru_cache(maxsize=256)
def _model_as_of(path: Path, age: tuple[int, int]) -> ModelSpec:
    config = load_json(path)
    return model_from_config(config, name=path.stem, where=str(path))


def _model_aliases(path: Path) -> list[str]:
    """Other names under which a catalog file's shape is known."""
    config = load_json(path)
    return list(config.get("aliases", ())) if isinstance(config, dict) else []


def _with_relative(device: DeviceSpec, followed: tuple[str, ...] = ()) -> DeviceSpec:
    """The device with its relative's fits where it has none of its own."""
    name = device.kernels.relative
    if name is None:
        return device
    if name in followed:
        raise SpecError(f"{device.name}: kernels: relative: {name} leads back to itself")
    relative = _with_relative(_by_name("devices", name, DeviceSpec), (*followed, name)).kernels
    own = {name: getattr(device.kernels, name) for name in device.kernels.model_fields_set}
    return device.model_copy(update={"kernels": relative.model_copy(update=own)})


def _by_name(kind: str, name: str, value: type[_Named]) -> _Named:
    """The entry of ``profiles/KIND`` whose file or alias is called so."""
    files = _files(kind, ".yaml")
    for stem, path in files.items():
        if _plain(stem) == _plain(name):
            return _entry(path, value)
    for path in files.values():
        entry = _entry(path, value)
        if _plain(name) in map(_plain, entry.aliases):
            return entry
    what = kind.removeprefix("stacks/").removesuffix("s")
    what = f"{what} stack" if kind.startswith("stacks") else what
    hint = "`hybridmap list devices` shows all" if kind == "devices" else f"known: {', '.join(files)}"
    raise UnknownNameError(f"no {what} {name!r}{closest(name, files)}; {hint}")


def _entry(path: Path, value: type[_Named]) -> _Named:
    """The value in a file, read once for as long as the file stays the same."""
    found = _entry_as_of(path, value, _age(path))
    assert isinstance(found, value)
    return found


def _age(path: Path) -> tuple[int, int]:
    """What differs once a file was written anew."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=256)
def _entry_as_of(path: Path, value: type[_Named], age: tuple[int, int]) -> _Named:
    try:
        return value.model_validate(load_yaml(path))
    except ValidationError as error:
        raise SpecError("\n".join(describe_errors(error, where=str(path), root=value))) from None


def _files(kind: str, suffix: str) -> dict[str, Path]:
    """Files of one kind by stem; the working directory's own hide those shipped."""
    folders = [root / "profiles" / kind for root in (SHIPPED, Path.cwd())]
    return {path.stem: path for folder in folders if folder.is_dir() for path in _listed(folder, suffix)}


def _listed(folder: Path, suffix: str) -> tuple[Path, ...]:
    """The folder's files, looked for anew once one has come or gone."""
    return _listed_as_of(folder, suffix, folder.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _listed_as_of(folder: Path, suffix: str, age: int) -> tuple[Path, ...]:
    return tuple(sorted(folder.glob(f"*{suffix}")))


def _plain(name: str) -> str:
    """A name without case, vendor and separators, as `nvidia-smi` and people write them."""
    return re.sub(r"[-_\s]+", "", name.casefold()).removeprefix("nvidia")
