"""Which Python runs the reader's JupyterLab, and whether the panel can live in it."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from workshop_utils.errors import WorkshopError

OLDEST_PYTHON = (3, 11)
OLDEST_LAB = 4
# Runs under any Python 3, the one of the other JupyterLab.
QUESTION = """
import sys
# The current folder, whose json.py or importlib.py would run.
sys.path = [folder for folder in sys.path if folder]
import json

def version(name):
    try:
        from importlib.metadata import version
        return version(name)
    except ImportError:
        return None

facts = {"version": list(sys.version_info[:2]), "lab": version("jupyterlab"), "psutil": version("psutil")}
print(json.dumps(facts))
"""


@dataclass(frozen=True)
class JupyterServer:
    """The Python of a JupyterLab, and what the panel needs from it."""

    python: Path
    version: tuple[int, int]
    lab: str | None
    psutil: str | None

    def refusal(self) -> str | None:
        """Return why the panel cannot live there, or None when it can."""
        if self.version < OLDEST_PYTHON:
            version = f"{self.version[0]}.{self.version[1]}"
            return f"that JupyterLab runs on Python {version} ({self.python}), and the panel needs 3.11"
        if self.lab is None:
            return f"{self.python} has no JupyterLab"
        if int(self.lab.split(".")[0]) < OLDEST_LAB:
            return f"{self.python} has JupyterLab {self.lab}, and the panel needs 4.2"
        return None


def find_server(named: Path | None) -> JupyterServer | None:
    """Return the JupyterLab that the reader named, or whose terminal this is, or that is first on the PATH.

    None when there is none of them. Raises ``WorkshopError`` for a named one that cannot be asked.
    """
    if named is not None:
        server = ask(python_of(named))
        if server is None:
            raise WorkshopError(
                f"--jupyter {named} is no command of a JupyterLab; give the path of its `jupyter`."
            )
        return server
    for python in (python_of_parent(), python_of(jupyter_on_path())):
        server = ask(python)
        if server is not None:
            return server
    return None


def ask(python: Path | None) -> JupyterServer | None:
    """Ask a Python for its version and packages; None when it does not answer."""
    if python is None:
        return None
    # Its own packages count, not those of this environment's shell.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONHOME"}
    try:
        answer = subprocess.run(
            [str(python), "-c", QUESTION],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            env=environment,
        )
        facts = json.loads(answer.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return JupyterServer(python, (facts["version"][0], facts["version"][1]), facts["lab"], facts["psutil"])


def python_of_parent() -> Path | None:
    """Return the Python of the Jupyter server in whose terminal this command was typed, or None."""
    import psutil

    try:
        lines = [parent.cmdline() for parent in psutil.Process().parents()]
    except psutil.Error:
        return None
    return next((python for python in map(python_of_command_line, lines) if python is not None), None)


def python_of_command_line(words: list[str]) -> Path | None:
    """Return the Python of a command line that is a Jupyter server's: ``python …/jupyter-lab …``, or None."""
    program = [word for word in words[1:4] if re.search(r"(^|/)jupyter", word)]
    if (
        not program
        or "python" not in Path(words[0]).name
        or Path(words[0]).parent == Path(sys.executable).parent
    ):
        return None
    return Path(words[0])


def jupyter_on_path() -> Path | None:
    """Return the first ``jupyter`` on the PATH that is not this environment's own."""
    own = Path(sys.executable).parent
    folders = [folder for folder in os.get_exec_path() if folder and Path(folder) != own]
    found = shutil.which("jupyter-lab", path=os.pathsep.join(folders))
    return Path(found) if found else None


def python_of(command: Path | None) -> Path | None:
    """Return the Python that a command is or that its first lines name; None for another program."""
    if command is None or not command.is_file():
        return None
    if command.name.startswith("python"):
        return command.absolute()
    with command.open("rb") as file:
        head = file.read(1000).decode("utf-8", errors="replace")
    # The plain first line, or, where the path is too long for it, pip's second one: '''exec' "/…/python" …
    match = re.match(r"#!\s*(?:\S*/env\s+)?(\S*python\S*)", head) or re.search(
        r"'''exec' \"?([^\"\n]*python[^\"\s]*)", head
    )
    if match is None:
        return None
    found = shutil.which(match[1])
    return Path(found) if found else None
