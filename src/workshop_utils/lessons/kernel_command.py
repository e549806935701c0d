"""``workshop kernel``: kernel and panel for a JupyterLab that was there before, and their removal."""

import argparse
import json
from pathlib import Path

from workshop_utils.errors import WorkshopError
from workshop_utils.lessons.jupyter_server import JupyterServer, find_server
from workshop_utils.lessons.kernelspec import (
    DISPLAY_NAME,
    FREE_SPACE,
    install_kernel,
    install_panel,
    remove_kernel,
    remove_panel,
)

EPILOG = """examples:
  workshop kernel install
  workshop kernel install --jupyter /apps/jupyterlab/4.4/bin/jupyter
  workshop kernel remove

`install` prints, with --json, {"kernel": FOLDER, "panel": true or false, "notes": [SENTENCE, …]};
`remove` prints {"removed": [PATH, …]}. Restart the JupyterLab session afterwards."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``workshop kernel``."""
    parser.epilog = EPILOG
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    install = actions.add_parser(
        "install", help="let a JupyterLab, as of Open OnDemand, find kernel and panel"
    )
    install.add_argument(
        "--jupyter", type=Path, metavar="PATH",
        help="the `jupyter` command of that JupyterLab (default: the one of this terminal, else on the PATH)",
    )  # fmt: skip
    remove = actions.add_parser("remove", help="take both away again")
    for action in (install, remove):
        action.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Install or remove, and say what was done."""
    try:
        return remove(arguments) if arguments.action == "remove" else install(arguments)
    except OSError as error:
        raise WorkshopError(f"cannot change {error.filename} ({error.strerror}); {FREE_SPACE}.") from error


def remove(arguments: argparse.Namespace) -> int:
    """Take kernel and panel away."""
    removed = remove_kernel() + remove_panel()
    for_people = "\n".join(f"removed from {path}" for path in removed) or "there was nothing to remove"
    print(json.dumps({"removed": [str(path) for path in removed]}) if arguments.json else for_people)
    return 0


def install(arguments: argparse.Namespace) -> int:
    """Give the JupyterLab that was there before a kernel and, where it is new enough, the panel."""
    server = find_server(arguments.jupyter)
    refusal = server.refusal() if server else None
    # After an upgrade or downgrade of the server, an older panel must not stay behind.
    remove_panel()
    kernel = install_kernel()
    if refusal is None:
        install_panel()
    notes = notes_on(server, refusal)
    if arguments.json:
        print(json.dumps({"kernel": str(kernel), "panel": refusal is None, "notes": notes}))
        return 0
    print(f'kernel "{DISPLAY_NAME}": {kernel}')
    print("\n".join(notes))
    return 0


def notes_on(server: JupyterServer | None, refusal: str | None) -> list[str]:
    """Return what the reader should know, as whole sentences."""
    if refusal is not None:
        return [f"No panel: {refusal}. Notebooks run all the same; ask the centre for a newer JupyterLab."]
    restart = "Restart the JupyterLab session: kernel and panel appear in it."
    if server is None:
        return [
            restart,
            "Which Python runs that JupyterLab could not be found out; if the panel stays away, type this "
            "command in a terminal of that JupyterLab, or name its command with --jupyter.",
        ]
    if server.psutil is None:
        return [restart, f"The panel will not show CPU and memory, because {server.python} has no psutil."]
    return [restart]
