"""Run notebooks on this machine and keep what they said: ``python tests/gpu/run_notebooks.py OUT 03 04 05``.

Each notebook is executed from its first cell to its last in a copy of the notebooks' folder and written, with
its outputs, to OUT; a line each says how long it took, or which cell failed and how. Works on every tier;
meant for machines with one GPU and with two (CUDA_VISIBLE_DEVICES hides one). Needs nbclient and ipykernel,
and the small model (``workshop model prepare``).
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
CELL_SECONDS = 300


def run(source: Path, out: Path) -> str:
    """Execute one notebook, write it with its outputs, and return what came of it in a few words."""
    notebook = nbformat.read(source, as_version=4)
    before = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(NOTEBOOKS, Path(folder) / "notebooks")
        client = NotebookClient(
            notebook,
            timeout=CELL_SECONDS,
            kernel_name="python3",
            resources={"metadata": {"path": str(copy)}},
        )
        started: dict[str, Any] = {}

        def note(cell: Any, cell_index: int) -> None:
            provisioner = getattr(client.km, "provisioner", None)
            started.update(cell=cell.source, process=getattr(provisioner, "process", None))

        client.on_cell_start = note
        try:
            client.execute()
            said = "finished"
        except (CellExecutionError, CellTimeoutError) as error:
            said = f"failed: {str(error).strip()[-400:]}"
        except DeadKernelError:
            process = started.get("process")
            code = process.returncode if process is not None else None
            said = f"failed: the kernel ended with code {code} in the cell\n{started.get('cell')}\n"
    nbformat.write(notebook, out / source.name)
    return f"{source.name} {said} after {time.monotonic() - before:.0f} s"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("numbers", nargs="+", metavar="NN", help="the numbers that notebooks begin with")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    failed = False
    for number in arguments.numbers:
        (source,) = NOTEBOOKS.glob(f"{number}*.ipynb")
        said = run(source, arguments.out)
        failed |= "failed" in said
        print(said, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
