"""A room imports only the rooms before it: read from the syntax tree, so late imports count too."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "workshop_utils"
EXTENSION = ROOT / "jupyter_extension" / "workshop_monitor"
# Each room may import the rooms before it. The last four sit on top, in this order.
ORDER = [
    "models", "hardware", "monitor", "memory", "measure", "planner", "cluster", "parallel",
    "figures", "lessons", "widgets", "cli",
]  # fmt: skip
# Shared words and folders, below every room.
FOUNDATION = {"errors", "units", "storage", "__init__"}
FREE_OF_TORCH = ["models", "hardware", "memory", "planner", "cluster", "monitor"]
HEAVY = {"torch", "transformers", "accelerate"}


def imported_names(file: Path, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute here"
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms_imported(file: Path) -> set[str]:
    parts = [name.split(".") for name in imported_names(file)]
    existing = {path.stem for path in PACKAGE.iterdir()}
    ours = [part for part in parts if part[0] == "workshop_utils" and len(part) > 1]
    return {part[1] for part in ours if part[1] in existing}


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(path for path in PACKAGE.rglob("*.py") if "_notebooks" not in path.parts)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_before_it(file: Path) -> None:
    room = room_of(file)
    if room == "__main__" or room.startswith("bootstrap"):
        return
    imported = rooms_imported(file) - {room}
    if room in FOUNDATION:
        assert imported <= FOUNDATION
        return
    allowed = set(ORDER[: ORDER.index(room)]) | FOUNDATION
    assert imported <= allowed, f"{room} may not import {sorted(imported - allowed)}"


def test_every_room_of_the_design_stands() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name[0] != "_"}
    assert folders == set(ORDER) - {"cli"}


@pytest.mark.parametrize("file", sorted(EXTENSION.rglob("*.py")), ids=lambda file: file.name)
def test_the_server_extension_imports_only_monitor_hardware_and_measure(file: Path) -> None:
    assert rooms_imported(file) <= {"monitor", "hardware", "measure"} | FOUNDATION


@pytest.mark.parametrize("file", [f for f in FILES if room_of(f) in FREE_OF_TORCH], ids=lambda f: f.name)
def test_pure_rooms_never_import_torch_at_the_top(file: Path) -> None:
    heavy = {name.split(".")[0] for name in imported_names(file, top_level_only=True)} & HEAVY
    assert not heavy
