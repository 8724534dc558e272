"""Text files in and out: YAML by people, JSON by machines; read with care, written whole or not at all."""

import json
import math
import os
import tempfile
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from planner.errors import SpecError

_MAXIMUM_BYTES = 2**26
_MAXIMUM_VALUES = 200_000
_MAXIMUM_DEPTH = 60


def load_yaml(path: Path) -> Any:
    """The value of a YAML file.

    Raises
    ------
    SpecError
        The file can't be read, is not text, is broken, repeats a key, contains itself, unfolds too far, or
        holds a number that is none.
    """
    return parse_yaml(read_text(path), where=str(path))


def parse_yaml(text: str, *, where: str) -> Any:
    """The value of a text in YAML; raises SpecError as `load_yaml` does."""
    try:
        value = yaml.load(text, _StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        at = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise SpecError(f"{where}{at}: not valid YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise SpecError(f"{where}: not valid YAML: {_reason(error)}") from None
    _check_size(value, where)
    return value


def load_json(path: Path) -> Any:
    """The value of a JSON file.

    Raises
    ------
    SpecError
        The file can't be read, is not text, is broken, repeats a key, or holds a number that is none (NaN,
        Infinity or one too large).
    """
    text = read_text(path)
    try:
        return json.loads(
            text, object_pairs_hook=_unrepeated, parse_constant=_refuse_number, parse_float=_finite
        )
    except json.JSONDecodeError as error:
        raise SpecError(f"{path}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}") from None
    except (RecursionError, ValueError) as error:
        raise SpecError(f"{path}: not valid JSON: {_reason(error)}") from None


def read_text(path: Path) -> str:
    """The text of a file, or a SpecError that says why there is none."""
    try:
        if path.is_dir():
            raise SpecError(f"{path}: is a folder, not a file")
        if path.stat().st_size > _MAXIMUM_BYTES:
            raise SpecError(f"{path}: larger than {_MAXIMUM_BYTES} bytes; this is not a scenario or a plan")
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: not text (byte {error.start} is not UTF-8)") from None
    except SpecError:
        raise
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: cannot be read: {error}") from None
    if "\0" in text:
        raise SpecError(f"{path}: not text (it has NUL bytes)")
    return text


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all, making its folder where needed."""
    write_bytes(path, text.encode("utf-8"))


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """The same with the lines one after the other, so that they never lie in memory together."""
    _write(path, (f"{line}\n".encode() for line in lines))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, making its folder where needed; what a link names is written.

    Raises
    ------
    SpecError
        The path names no file, or the file cannot be written.
    """
    _write(path, [content])


def _write(path: Path, parts: Iterable[bytes]) -> None:
    refuse_unwritable(path)
    try:
        _replace(path.resolve(), parts)
    except OSError as error:
        raise SpecError(f"{path}: cannot be written: {error.strerror}") from None


def refuse_unwritable(path: Path) -> None:
    """Refuse a place that no file can be written to, before there is anything to write.

    Raises
    ------
    SpecError
        The path is empty or a folder, something other than a file lies there, or its folder cannot be made.
    """
    try:
        if path.is_dir():
            raise SpecError(f"{path}: is a folder; give the name of a file")
        if path.exists() and not path.is_file():
            raise SpecError(f"{path}: is not a regular file; give the name of one")
        folder = next(each for each in path.resolve().parents if each.exists())
        if not folder.is_dir():
            raise SpecError(f"{path}: cannot be written: {folder} is not a folder")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise SpecError(f"{path}: cannot be written: no permission to write in {folder}")
    except (OSError, RuntimeError) as error:
        raise SpecError(f"{path}: cannot be written: {error}") from None


def _replace(path: Path, parts: Iterable[bytes]) -> None:
    """Put a whole file in the place of what is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:100]}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(parts)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def dump_json(value: Any) -> str:
    """JSON with sorted keys and a final newline."""
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"


class _StrictLoader(yaml.SafeLoader):  # type: ignore[misc]
    """SafeLoader that refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = key_node.value
            if key in seen:
                problem = f"{key!r} is given twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
            seen.add(key)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return mapping


def _check_size(value: Any, where: str) -> None:
    """Refuse what contains itself or unfolds, through aliases, into more than a scenario can be.

    And numbers that are none.
    """
    count = 0
    stack: list[tuple[Any, int]] = [(value, 0)]
    while stack:
        item, depth = stack.pop()
        count += 1
        if depth > _MAXIMUM_DEPTH or count > _MAXIMUM_VALUES:
            raise SpecError(f"{where}: contains itself or is nested too deeply; write it without aliases")
        if isinstance(item, float) and not math.isfinite(item):
            raise SpecError(f"{where}: not valid YAML: {item} is not a number")
        if isinstance(item, dict):
            stack += [(child, depth + 1) for child in item.values()]
        elif isinstance(item, list):
            stack += [(child, depth + 1) for child in item]


def _unrepeated(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object's keys and values, none of the keys twice."""
    value: dict[str, Any] = {}
    for key, item in pairs:
        if key in value:
            raise ValueError(f"{key!r} is given twice")
        value[key] = item
    return value


def _refuse_number(text: str) -> float:
    raise ValueError(f"{text} is not a number")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse_number(text)


def _reason(error: Exception) -> str:
    """What is wrong with a file that is nested too deeply, or else."""
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)
