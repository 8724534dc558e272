"""Fitted sections and the files of ``profiles`` that they belong in."""

from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from pydantic import BaseModel

from planner.domain.fits import FitRecord
from planner.domain.quantities import Value
from planner.domain.text import load_yaml, write_text


@dataclass(frozen=True, slots=True)
class Staging:
    """Copies of files of ``profiles``, fitted but not yet in their place.

    While it is open the working directory is its folder, where the catalog looks first, so that a fit sees
    what was fitted before it.
    """

    folder: Path
    profiles: Path
    """Where the files belong."""

    def put(self, file: str, keys: tuple[str, ...], section: Value) -> None:
        """Replace one section of a file, the rest of it kept in its order.

        Parameters
        ----------
        file
            Under ``profiles``, such as ``devices/h100-sxm-80gb.yaml``.
        keys
            Where the section lies, such as ``("kernels", "gemm")``; none for the file's top level, where
            the section replaces the keys that it has.
        """
        staged = self.folder / "profiles" / file
        content: dict[str, Any] = load_yaml(staged if staged.exists() else self.profiles / file)
        written = section.model_dump(mode="json", exclude_none=True)
        if keys:
            place = content
            for key in keys[:-1]:
                place = place.setdefault(key, {})
            place[keys[-1]] = written
        else:
            content |= written
        write_text(staged, yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110))

    def publish(self) -> list[Path]:
        """Put every file in its place, each of them whole."""
        staged = sorted(path for path in (self.folder / "profiles").rglob("*.yaml"))
        places = [self.profiles / path.relative_to(self.folder / "profiles") for path in staged]
        for path, place in zip(staged, places, strict=True):
            write_text(place, path.read_text(encoding="utf-8"))
        return places


@contextmanager
def staging(profiles: Path) -> Iterator[Staging]:
    """A place for fitted files that vanishes with everything that was not published."""
    profiles = profiles.resolve()
    with TemporaryDirectory() as name, chdir(name):
        yield Staging(folder=Path(name), profiles=profiles)


def records_of(section: BaseModel, name: str = "") -> Iterator[tuple[str, FitRecord]]:
    """Every record inside a fitted section, by the path of its part."""
    for field, value in section:
        path = f"{name}.{field}".strip(".")
        if isinstance(value, FitRecord):
            yield name, value
        elif isinstance(value, BaseModel):
            yield from records_of(value, path)
        elif isinstance(value, Mapping):
            for key, part in value.items():
                if isinstance(part, BaseModel):
                    yield from records_of(part, f"{path}.{key}")
