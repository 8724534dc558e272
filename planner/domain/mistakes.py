"""Turn validation errors into lines a person can act on: file, key path, what is wrong, nearest key."""

import difflib
import types
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

Path = tuple[str | int, ...]


def describe_errors(
    error: ValidationError, *, where: str, root: type[BaseModel], besides: Sequence[Path] = ()
) -> list[str]:
    """One line per mistake, in the order of the file's keys, those inside the paths ``besides`` left out."""
    items = error.errors()
    kept = (item for item in items if not any(_inside(item["loc"], path) for path in besides))
    return [
        describe(_without_tags(item["loc"], root), line, where=where)
        for item in kept
        if not _follows(item, items)
        for line in _message(item, root).splitlines()
    ]


def _follows(item: Any, items: list[Any]) -> bool:
    """Whether a mistake only says that a list lost an entry to another mistake."""
    path = item["loc"]
    return item["type"] == "too_short" and any(
        _inside(other["loc"], path) and other["loc"] != path for other in items
    )


def _inside(path: Path, prefix: Path) -> bool:
    return path[: len(prefix)] == prefix


def describe(path: Path, message: str, *, where: str) -> str:
    """``file: key.path: message``."""
    at = format_path(path)
    return f"{where}: {at}: {message}" if at else f"{where}: {message}"


def format_path(path: Path) -> str:
    """Readable text of a key path.

    >>> format_path(("cluster", "node_pools", 0, "nodes"))
    'cluster.node_pools[0].nodes'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def closest(name: object, known: Iterable[str]) -> str:
    """A hint with the nearest known name, or nothing.

    >>> closest("promts", ["prompts", "epochs"])
    "; did you mean 'prompts'?"
    """
    matches = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.6)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def _message(item: Any, root: type[BaseModel]) -> str:
    kind, path = item["type"], item["loc"]
    if kind == "extra_forbidden":
        fields = _fields_at(root, path[:-1])
        known = f" (keys here: {', '.join(fields)})" if fields else ""
        return f"unknown key{closest(path[-1], fields)}{known}"
    if kind == "missing":
        return "missing"
    if kind == "union_tag_invalid":
        context = item["ctx"]
        known = context["expected_tags"].replace("'", "")
        return f"{context['tag']!r} is not one of {known}{closest(context['tag'], known.split(', '))}"
    if kind == "union_tag_not_found":
        return f"{item['ctx']['discriminator']}: missing".replace("'", "")
    if kind in ("model_type", "model_attributes_type", "dict_type", "list_type", "tuple_type"):
        return _of_wrong_shape(item, _fields_at(root, path))
    message = str(item["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    simple = isinstance(item["input"], str | int | float | bool)
    return f"{message}, found {item['input']!r}" if simple and repr(item["input"]) not in message else message


def _of_wrong_shape(item: Any, fields: Sequence[str]) -> str:
    """What is no mapping or no list where one has to be."""
    wanted = "a list" if item["type"] in ("list_type", "tuple_type") else "a mapping"
    keys = f" with keys such as {', '.join(fields[:4])}" if fields and wanted == "a mapping" else ""
    found = {dict: "a mapping", list: "a list", type(None): "nothing"}.get(type(item["input"]))
    return f"expected {wanted}{keys}, found {found or repr(item['input'])}"


def _fields_at(model: Any, path: Path) -> list[str]:
    """Names of the fields of the model that a key path leads to; empty where it leads to none."""
    for part in path:
        model = _inner(model, part)
    models = _models_of(model)
    return list(models[0].model_fields) if models else []


def _without_tags(path: Path, model: Any) -> Path:
    """The path without the names that say which model of a union is meant, which no file has as keys."""
    keys: list[str | int] = []
    for part in path:
        if _tagged(model, part) is None:
            keys.append(part)
        model = _inner(model, part)
    return tuple(keys)


def _inner(model: Any, part: str | int) -> Any:
    """What lies in a model, a union or a container under one part of a path."""
    candidates = [kind for kind in _models_of(model) if part in kind.model_fields]
    if candidates:
        return candidates[0].model_fields[str(part)].annotation
    if (tagged := _tagged(model, part)) is not None:
        return tagged
    arguments = get_args(model)
    if not arguments:
        return model
    return arguments[-1] if arguments[-1] is not Ellipsis else arguments[0]


def _tagged(model: Any, part: str | int) -> type[BaseModel] | None:
    """The one of several models that has a field which can only be ``part``."""
    models = _models_of(model)
    if len(models) < 2 or any(part in kind.model_fields for kind in models):
        return None
    return next((kind for kind in models if (part,) in map(_choices, kind.model_fields.values())), None)


def _choices(field: FieldInfo) -> tuple[Any, ...]:
    return get_args(field.annotation) if get_origin(field.annotation) is Literal else ()


def _models_of(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, types.UnionType):
        return [model for part in get_args(annotation) for model in _models_of(part)]
    return []
