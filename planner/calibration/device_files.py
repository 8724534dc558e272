"""Write fitted sections into the files of ``profiles``."""

from pathlib import Path
from typing import Any

import yaml

from planner.domain.quantities import Value
from planner.domain.text import load_yaml, write_text


def write_section(path: Path, keys: tuple[str, ...], section: Value) -> None:
    """Replace one section of a YAML file, the rest of it kept in its order.

    Parameters
    ----------
    keys
        Where the section lies, such as ``("kernels", "gemm")``.
    """
    content: dict[str, Any] = load_yaml(path)
    place = content
    for key in keys[:-1]:
        place = place.setdefault(key, {})
    place[keys[-1]] = section.model_dump(mode="json", exclude_none=True)
    write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110))
