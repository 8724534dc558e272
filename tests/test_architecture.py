"""Who may import whom: an ``ast`` walk over every room, and one process that imports the planner."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

PLANNER_ROOMS = {
    "planner.errors": set(),
    "planner.units": {"planner.errors"},
    "planner.domain": {"planner.errors", "planner.units"},
    "planner.algorithms": {"planner.domain", "planner.errors"},
    "planner.costs": {"planner.domain", "planner.errors", "planner.units"},
    "planner.search": {"planner.costs", "planner.domain", "planner.errors", "planner.units"},
    "planner.simulation": {"planner.costs", "planner.domain", "planner.errors", "planner.units"},
    "planner.calibration": {
        "planner.costs",
        "planner.simulation",
        "planner.domain",
        "planner.errors",
        "planner.units",
    },
    "planner.reporting": {"planner.domain", "planner.errors", "planner.units"},
    "planner.studies": {"planner"},
    "runtime": {"planner.domain", "planner.algorithms", "planner.errors", "planner.units"},
}
THIRD_PARTIES = {
    "planner.errors": set(),
    "planner.units": set(),
    "planner.domain": {"pydantic", "yaml", "networkx"},
    "planner.algorithms": {"networkx"},
    "planner.costs": set(),
    "planner.search": {"ortools", "networkx"},
    "planner.simulation": set(),
    "planner.calibration": {"scipy", "yaml"},
    "planner.reporting": {"matplotlib", "rich"},
    "planner.studies": set(),
}
HEAVY = ("torch", "ray", "vllm", "megatron", "transformers")


def room_of(module: str) -> str:
    """The room that a module lies in, or the module itself."""
    return next((room for room in PLANNER_ROOMS if module == room or module.startswith(f"{room}.")), module)


def files_of(room: str) -> list[Path]:
    path = ROOT.joinpath(*room.split("."))
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write absolute imports"
            names |= {node.module or ""}
            if node.module in ("planner", "runtime"):
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


EXISTING = [
    room for room in PLANNER_ROOMS if all(path.exists() for path in files_of(room)) and files_of(room)
]


@pytest.mark.parametrize("room", EXISTING)
def test_a_room_imports_only_the_rooms_it_may(room: str) -> None:
    allowed = PLANNER_ROOMS[room] | {room}
    for path in files_of(room):
        ours = {
            name for name in imports_of(path) if name.split(".")[0] in ("planner", "runtime", "hybridmap")
        }
        for name in ours:
            parts = name.split(".")
            prefixes = {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
            assert prefixes & allowed, f"{path.relative_to(ROOT)} imports {name}; {room} may import {allowed}"


@pytest.mark.parametrize("room", [room for room in EXISTING if room in THIRD_PARTIES])
def test_a_planner_room_imports_only_the_third_parties_it_may(room: str) -> None:
    for path in files_of(room):
        tops = {name.split(".")[0] for name in imports_of(path)}
        others = tops - set(sys.stdlib_module_names) - {"planner", "numpy"}
        assert others <= THIRD_PARTIES[room], f"{path.relative_to(ROOT)} imports {others}"


def test_only_the_figures_import_matplotlib() -> None:
    users = {
        path.name for path in files_of("planner") if any("matplotlib" in name for name in imports_of(path))
    }
    assert users <= {"figures.py", "paper_figures.py"}


def test_no_import_hides_inside_a_function() -> None:
    for package in ("planner", "runtime"):
        for path in files_of(package):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    hidden = [n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom)]
                    assert not hidden, (
                        f"{path.relative_to(ROOT)}:{hidden[0].lineno} imports inside a function"
                    )


def test_the_planner_rooms_have_no_import_cycle() -> None:
    edges: dict[str, set[str]] = {}
    for path in files_of("planner"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        edges.setdefault(room_of(module), set()).update(
            room_of(name) for name in imports_of(path) if name.startswith("planner.")
        )
    for room, targets in edges.items():
        assert not any(room in edges.get(other, ()) for other in targets - {room}), f"{room} is in a cycle"


def test_the_planner_and_the_command_line_load_no_runtime_library() -> None:
    code = (
        "import sys, planner, hybridmap.__main__, hybridmap.run;"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert result.stdout.strip() == "[]"
