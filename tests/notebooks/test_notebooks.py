"""The plan of a notebook: short cells, few words, a title card, nothing of the author's machine."""

import re
from pathlib import Path

import nbformat
import pytest

from workshop_utils.lessons.exercises_memory import (
    REPLICA_BATCH,
    REPLICA_MODEL,
    REPLICA_TOKENS,
    SLIDING_TOKENS,
)
from workshop_utils.memory.slide_rule import slide_table
from workshop_utils.models.find import find_architecture
from workshop_utils.models.parameters import count_parameters

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_CODE_CELLS, MOST_WORDS, MOST_LINES = 15, 900, 12
ABSOLUTE_PATH = re.compile(r"(?<![\w.:/])/(home|root|work|tmp|scratch|Users|mnt)\b|\b[A-Z]:\\\\")

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path, kind: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == kind]


def text_of(path: Path) -> str:
    return "\n".join(cell.source for cell in cells(path, "markdown"))


def test_the_notebooks_of_this_release_are_there() -> None:
    assert [path.stem for path in NOTEBOOKS][:2] == ["00_start_here", "01_will_it_fit"]


@every_notebook
def test_a_notebook_is_valid_and_names_the_kernel_of_this_environment(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"


@every_notebook
def test_a_notebook_is_short(path: Path) -> None:
    code = cells(path, "code")
    assert len(code) <= MOST_CODE_CELLS
    assert len(text_of(path).split()) <= MOST_WORDS
    assert {
        cell.id: len(cell.source.splitlines()) for cell in code if cell.source.count("\n") >= MOST_LINES
    } == {}


@every_notebook
def test_cells_hold_no_helper_code(path: Path) -> None:
    for cell in cells(path, "code"):
        assert not re.search(r"^\s*(def|class|async def) |^[!%]", cell.source, re.MULTILINE), cell.source


@every_notebook
def test_a_notebook_begins_with_its_title_card(path: Path) -> None:
    card = cells(path, "markdown")[0].source
    assert card.startswith("# ")
    for field in ("**Afterwards you can**", "**Time**", "**Tier**", "**Cost**", "minutes", "GPU-minute"):
        assert field in card
    assert "## Key points" in cells(path, "markdown")[-1].source


@every_notebook
def test_a_notebook_keeps_only_outputs_that_are_compared_and_no_path_of_its_author(path: Path) -> None:
    for cell in cells(path, "code"):
        compared = "nbval-check-output" in cell.metadata.get("tags", [])
        assert bool(cell.outputs) == compared, cell.source
    assert not ABSOLUTE_PATH.search(path.read_text(encoding="utf-8"))


@every_notebook
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", text_of(path)):
        assert target.startswith("https://") or (FOLDER / target).exists(), target


def test_figures_in_the_text_of_notebook_01_are_those_of_the_engine() -> None:
    text = text_of(FOLDER / "01_will_it_fit.ipynb")
    small, replica = find_architecture("smollm2-135m"), find_architecture(REPLICA_MODEL)
    for shape in (small, replica):
        attention = shape.layers[0].attention
        assert f"{count_parameters(shape).total:,} parameters" in text
        assert f"{len(shape.layers)} layers" in text or f"{len(shape.layers)} full layers" in text
        assert f"{attention.kv_heads} KV heads of size {attention.head_dim}" in text
    assert f"one conversation of {SLIDING_TOKENS:,} tokens" in text
    assert f"{REPLICA_BATCH} conversations of {REPLICA_TOKENS:,} tokens" in text
    cell = next(cell for cell in slide_table() if (cell.label, cell.tokens) == ("4B @ FP16", 131072))
    assert f"The slide says {cell.published.kv_cache_gb} GB" in text
    assert sum(cell.difference_gb == 0 for cell in slide_table()) == 18
    assert "Eighteen cells" in text
