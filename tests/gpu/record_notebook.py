"""Run notebook 01 on this machine and keep what it said and what the panel's stream showed meanwhile.

``python tests/gpu/record_notebook.py FOLDER`` writes FOLDER/01_will_it_fit.ipynb, executed, and
FOLDER/stream.ndjson, one frame a line. Works on every tier; meant for machines with one GPU and with two.
"""

import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.workshop_monitor.server import Server, running_server  # noqa: E402

NOTEBOOK = "01_will_it_fit.ipynb"
HZ = 2.0
CELL_SECONDS = 300
BEFORE_AND_AFTER_SECONDS = 3


async def keep_frames(server: Server, file: Path) -> None:
    """Write every frame of the stream as a line, until cancelled."""
    stream = await server.stream(HZ)
    with file.open("w", encoding="utf-8") as lines:
        while (message := await stream.read_message()) is not None:
            lines.write(f"{message}\n")


async def run_notebook(source: Path, target: Path) -> None:
    """Execute a copy of the notebooks, so that the reader's own ledger and files stay as they are."""
    notebook = nbformat.read(source / NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(source, Path(folder) / "notebooks")
        client = NotebookClient(notebook, timeout=CELL_SECONDS, resources={"metadata": {"path": str(copy)}})
        await client.async_execute()
    nbformat.write(notebook, target)


async def record(folder: Path) -> int:
    """Return the number of frames that were kept."""
    frames = folder / "stream.ndjson"
    with (
        tempfile.TemporaryDirectory() as home,
        running_server(Path(home), {}, "workshop_monitor") as server,
    ):
        keeping = asyncio.create_task(keep_frames(server, frames))
        await asyncio.sleep(BEFORE_AND_AFTER_SECONDS)
        await run_notebook(ROOT / "notebooks", folder / NOTEBOOK)
        await asyncio.sleep(BEFORE_AND_AFTER_SECONDS)
        keeping.cancel()
    return sum(json.loads(line)["kind"] == "sample" for line in frames.read_text("utf-8").splitlines())


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{asyncio.run(record(folder))} samples and the executed notebook: {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
