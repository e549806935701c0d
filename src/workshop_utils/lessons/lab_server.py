"""JupyterLab as the workshop starts it: this environment, this machine only, with a token, no network."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from workshop_utils.errors import WorkshopError
from workshop_utils.lessons.caches import cache_variables
from workshop_utils.lessons.notebooks import FIRST_NOTEBOOK
from workshop_utils.storage import require_writable

ADDRESS = "127.0.0.1"
# Announcements, update checks and the manager that lists extensions all ask the network.
CONFIG = Path(__file__).parent / "lab_config"


def require_port(port: int) -> None:
    """Raise ``WorkshopError`` when nothing can listen on that port."""
    with socket.socket() as probe:
        # As the server does: a connection that just ended is no reason to refuse.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or "a port is a number up to 65535"
            raise WorkshopError(
                f"port {port} cannot be used ({reason}); "
                "give another one, or leave --port out to take the next free one."
            ) from error


def require_runtime_folder() -> None:
    """Raise ``WorkshopError`` when Jupyter cannot write where it keeps its keys: often a full home quota."""
    from jupyter_core.paths import jupyter_runtime_dir

    require_writable(
        Path(jupyter_runtime_dir()), "free space in your home or set JUPYTER_RUNTIME_DIR to a folder of yours"
    )


def lab_command(folder: Path, port: int | None, browser: bool, extra: Sequence[str]) -> list[str]:
    """Return the command that opens JupyterLab on the first notebook in ``folder``."""
    command = [
        # -P: a queue.py or json.py in the current folder is no module of the server's.
        sys.executable, "-P", "-m", "jupyterlab",
        f"--ServerApp.root_dir={folder}",
        "--log-level=WARN",  # what is left to read is the address
        # One Ctrl-C ends it; notebooks save themselves.
        "--ServerApp.answer_yes=True",
    ]  # fmt: skip
    # A command line goes before every configuration file; what the reader types goes before this, which
    # names nothing again: Jupyter takes one value for each.
    if not any(word.startswith(("--ServerApp.ip", "--ip")) for word in extra):
        command.append(f"--ServerApp.ip={ADDRESS}")
    if not any(option in word for word in extra for option in (".token", ".identity_provider_class")):
        command.append("--ServerApp.identity_provider_class=workshop_utils.lessons.lab_key.KeyRequired")
    if (folder / FIRST_NOTEBOOK).exists():
        command.append(f"--LabApp.default_url=/lab/tree/{FIRST_NOTEBOOK}")
    if port is not None:
        command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    if not browser:
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # a container; Jupyter refuses otherwise
    return [*command, *extra]


def lab_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for the server and, through it, for every kernel and terminal."""
    paths = [str(CONFIG), *filter(None, [environment.get("JUPYTER_CONFIG_PATH")])]
    # JUPYTER_PREFER_ENV_PATH: a kernel "python3" in the home must not hide the one of this environment.
    changed = {"JUPYTER_CONFIG_PATH": os.pathsep.join(paths), "JUPYTER_PREFER_ENV_PATH": "1"}
    if "SLURM_JOB_ID" in environment:
        # Open OnDemand submits with --export=NONE, and then srun from a notebook finds no command.
        changed["SLURM_EXPORT_ENV"] = "ALL"
    return {**environment, **cache_variables(), **changed}


def become(command: list[str], environment: Mapping[str, str]) -> int:
    """Let the command take this process's place, so that signals and exit code are its own."""
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "nt":  # Windows has no exec that keeps the console
        return subprocess.run(command, env=environment, check=False).returncode
    os.execve(command[0], command, environment)  # noqa: S606
