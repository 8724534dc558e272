"""Fitted sections and the files of ``profiles`` that they belong in."""

from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from planner.calibration.known import forget_known
from planner.domain.fits import FitRecord
from planner.domain.quantities import Value
from planner.domain.text import load_yaml, read_text, write_text

UNKNOWN = {"kind": "flat", "share": 0.5}
"""In the place of a section that is being fitted."""


@dataclass(frozen=True, slots=True)
class Staging:
    """Copies of files of ``profiles``, fitted but not yet in their place.

    While it is open the working directory is its folder, where the catalog looks first, so that a fit sees
    what was fitted before it.
    """

    folder: Path
    profiles: Path
    """Where the files belong."""
    fitted: set[str] = field(default_factory=set)
    """Files with a new section."""
    forgotten: dict[tuple[str, tuple[str, ...]], Any] = field(default_factory=dict)
    """What stood where a section was forgotten and none was put since, by file and keys."""

    def forget(self, keys: tuple[str, ...]) -> None:
        """Put nothing known in the place of one section of every device that has it.

        A fit of another form than the file's can then be made. Sections that are not fitted anew come back.
        """
        for path in sorted((self.profiles / "devices").glob("*.yaml")):
            file = f"devices/{path.name}"
            content = self._content(file)
            place: Any = content
            for key in keys[:-1]:
                place = place.get(key, {})
            if keys[-1] in place:
                self.forgotten[file, keys] = place[keys[-1]]
                place[keys[-1]] = UNKNOWN
                self._write(file, content)

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
        written = section.model_dump(mode="json", exclude_none=True)
        self.forgotten.pop((file, keys), None)
        self._replace(file, keys, written)
        self.fitted.add(file)

    def publish(self) -> list[Path]:
        """Put every file with a new section in its place, each of them whole."""
        for (file, keys), section in self.forgotten.items():
            self._replace(file, keys, section)
        places = [self.profiles / file for file in sorted(self.fitted)]
        for file, place in zip(sorted(self.fitted), places, strict=True):
            write_text(place, read_text(self._staged(file)))
        return places

    def _replace(self, file: str, keys: tuple[str, ...], written: Any) -> None:
        content = self._content(file)
        if keys:
            place = content
            for key in keys[:-1]:
                place = place.setdefault(key, {})
            place[keys[-1]] = written
        else:
            content |= written
        self._write(file, content)

    def _staged(self, file: str) -> Path:
        return self.folder / "profiles" / file

    def _content(self, file: str) -> dict[str, Any]:
        staged = self._staged(file)
        content: dict[str, Any] = load_yaml(staged if staged.exists() else self.profiles / file)
        return content

    def _write(self, file: str, content: dict[str, Any]) -> None:
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)
        write_text(self._staged(file), text)
        forget_known()


@contextmanager
def staging(profiles: Path) -> Iterator[Staging]:
    """A place for fitted files that vanishes with everything that was not published."""
    profiles = profiles.resolve()
    try:
        with TemporaryDirectory() as name, chdir(name):
            yield Staging(folder=Path(name), profiles=profiles)
    finally:
        forget_known()


def records_of(section: Value, name: str = "") -> Iterator[tuple[str, FitRecord]]:
    """Every record inside a fitted section, by the path of its part."""
    for part, value in section:
        path = f"{name}.{part}".strip(".")
        if isinstance(value, FitRecord):
            yield (name if part == "record" else path), value
        elif isinstance(value, Value):
            yield from records_of(value, path)
        elif isinstance(value, Mapping):
            for key, entry in value.items():
                if isinstance(entry, Value):
                    yield from records_of(entry, f"{path}.{key}")
