"""Facts by name: devices and models, from the user's ``profiles/`` first, then from those shipped."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from planner.domain.cluster import DeviceSpec
from planner.domain.mistakes import closest, describe_errors
from planner.domain.model import ARCHITECTURES, ModelSpec
from planner.domain.stack import GenerationStack, TrainingStack
from planner.domain.text import load_json, load_yaml
from planner.errors import SpecError

SHIPPED = Path(__file__).resolve().parents[2]
"""The folder that ``profiles`` and ``scenarios`` lie in, in a checkout as in an installed wheel."""

_T = TypeVar("_T")
_Named = TypeVar("_Named", DeviceSpec, TrainingStack, GenerationStack)


def device_names() -> list[str]:
    """Canonical names of all devices known here."""
    return sorted(_files("devices", ".yaml"))


def model_names() -> list[str]:
    """Names of all catalog models known here."""
    return sorted(_files("models", ".json"))


def read_device(name: str) -> DeviceSpec:
    """The catalog device of that name or alias, without regard to case, ``-`` and ``_``."""
    device = _by_name("devices", name, DeviceSpec)
    return _with_relative(device) if device.kernels.relative else device


def read_training_stack(name: str) -> TrainingStack:
    """The catalog's training engine of that name or alias."""
    return _by_name("stacks/training", name, TrainingStack)


def read_generation_stack(name: str) -> GenerationStack:
    """The catalog's serving engine of that name or alias."""
    return _by_name("stacks/generation", name, GenerationStack)


def read_model(reference: str, *, relative_to: Path | None = None) -> ModelSpec:
    """A catalog model by name, or any ``config.json`` (or its folder) by path."""
    files = _files("models", ".json")
    for stem, path in files.items():
        if _plain(stem) == _plain(reference):
            return model_from_config(load_json(path), name=stem, where=str(path))
    path = (relative_to or Path()) / reference
    if path.is_dir():
        path = path / "config.json"
    if path.is_file():
        folder = path.parent.resolve()
        has_weights = any(folder.glob("*.safetensors"))
        return model_from_config(
            load_json(path), name=folder.name, where=str(path), folder=str(folder) if has_weights else None
        )
    raise SpecError(
        f"no model {reference!r}{closest(reference, files)}; write a catalog name "
        "(`hybridmap list models`) or the path of a config.json"
    )


def model_from_config(config: Any, *, name: str, where: str, folder: str | None = None) -> ModelSpec:
    """A ModelSpec of the fields of a Hugging Face ``config.json``.

    Raises
    ------
    SpecError
        A field is missing, of the wrong type, or says something that these architectures don't have.
    """
    field = _field_reader(config, where)
    architecture = field("architectures", list)[0]
    if architecture not in ARCHITECTURES:
        raise SpecError(f"{where}: architectures: {architecture!r} is not one of {', '.join(ARCHITECTURES)}")
    _refuse_unsupported(config, where)
    heads, hidden = field("num_attention_heads", int), field("hidden_size", int)
    rope: dict[str, Any] = config.get("rope_parameters") or config.get("rope_scaling") or {}
    try:
        return ModelSpec(
            name=name,
            family=ARCHITECTURES[architecture],
            layers=field("num_hidden_layers", int),
            hidden=hidden,
            heads=heads,
            kv_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or hidden // max(heads, 1),
            ffn=field("intermediate_size", int),
            vocab=field("vocab_size", int),
            tied_embeddings=bool(config.get("tie_word_embeddings", False)),
            max_positions=config.get("max_position_embeddings", 2048),
            rope_theta=rope.get("rope_theta") or config.get("rope_theta", 10000.0),
            rope_type=rope.get("rope_type") or rope.get("type") or "default",
            norm_epsilon=config.get("rms_norm_eps", 1e-5),
            folder=folder,
        )
    except ValidationError as error:
        raise SpecError("\n".join(describe_errors(error, where=where, root=ModelSpec))) from None


def _refuse_unsupported(config: dict[str, Any], where: str) -> None:
    for key, expected in (("hidden_act", "silu"), ("attention_bias", False), ("mlp_bias", False)):
        if config.get(key, expected) not in (expected, None):
            raise SpecError(f"{where}: {key}: {config[key]!r} is not supported, only {expected!r}")
    if len(config.get("id2label") or ()) > 1 and "SequenceClassification" in str(config["architectures"]):
        raise SpecError(f"{where}: a reward model has one label, not {len(config['id2label'])}")


def _field_reader(config: Any, where: str) -> Callable[[str, type[_T]], _T]:
    if not isinstance(config, dict):
        raise SpecError(f"{where}: expected an object with the fields of a config.json")

    def read(key: str, kind: type[_T]) -> _T:
        value = config.get(key)
        if not isinstance(value, kind) or value == []:
            raise SpecError(f"{where}: {key}: expected {kind.__name__}, found {json.dumps(value)}")
        return value

    return read


def _with_relative(device: DeviceSpec) -> DeviceSpec:
    """The device with its measured relative's fits where it has none of its own."""
    relative = _by_name("devices", str(device.kernels.relative), DeviceSpec).kernels
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
    raise SpecError(f"no {what} {name!r}{closest(name, files)}; {hint}")


def _entry(path: Path, value: type[_Named]) -> _Named:
    try:
        return value.model_validate(load_yaml(path))
    except ValidationError as error:
        raise SpecError("\n".join(describe_errors(error, where=str(path), root=value))) from None


def _files(kind: str, suffix: str) -> dict[str, Path]:
    """Files of one kind by stem; the working directory's own hide those shipped."""
    return {path.stem: path for path in _candidates(kind, suffix)}


def _candidates(kind: str, suffix: str) -> Iterator[Path]:
    for root in (SHIPPED, Path.cwd()):
        yield from sorted((root / "profiles" / kind).glob(f"*{suffix}"))


def _plain(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")
