"""Run the notebooks as far as needed and store the outputs of the cells tagged nbval-check-output.

    python tests/notebooks/refresh.py [NOTEBOOK …]

All other outputs are removed: a reader's machine makes them. Look at the difference before you commit it.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
TAG = "nbval-check-output"
TIMEOUT_SECONDS = 300


def is_compared(cell: nbformat.NotebookNode) -> bool:
    return TAG in cell.metadata.get("tags", [])


def refresh(path: Path) -> None:
    """Store the outputs of the tagged cells of one notebook; cells after the last of them are not run."""
    notebook = nbformat.read(path, as_version=4)
    tagged = [index for index, cell in enumerate(notebook.cells) if is_compared(cell)]
    trial = nbformat.from_dict({**notebook, "cells": notebook.cells[: max(tagged, default=-1) + 1]})
    NotebookClient(
        trial,
        timeout=TIMEOUT_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    for index, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            kept = index in tagged
            cell.outputs = trial.cells[index].outputs if kept else []
            cell.execution_count = trial.cells[index].execution_count if kept else None
            cell.metadata.pop("execution", None)
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for notebook_path in [Path(name) for name in sys.argv[1:]] or sorted(NOTEBOOKS.glob("*.ipynb")):
        print(f"refreshing {notebook_path.name}")
        refresh(notebook_path)
