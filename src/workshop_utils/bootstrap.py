"""The first minute: find a Python that is new enough, then make the environment and start the workshop.

This file runs before anything is installed, under whatever ``python3`` is first on the PATH. It is written
for Python 3.6, so that an old one can say that it is too old. Everything else stands in ``bootstrap_*.py``,
which need Python 3.11 but nothing outside the standard library.
"""

import os
import subprocess
import sys

OLDEST = (3, 11)
# The tested ones, best first; newer ones may lack wheels of PyTorch.
CANDIDATES = ("python3.12", "python3.11", "python3.13")
EXIT_BAD_INPUT = 2


def version_of(command: str) -> "tuple[int, int] | None":
    """Return ``(major, minor)`` of a Python command, or None when it does not run (pyenv's shims)."""
    question = "import sys; print(sys.version_info[0], sys.version_info[1])"
    try:
        answer = subprocess.check_output([command, "-c", question], stderr=subprocess.DEVNULL)
        major, minor = answer.split()
        return int(major), int(minor)
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None


def newer_python() -> "str | None":
    """Return the first candidate on the PATH that really runs and is new enough, or None."""
    for command in CANDIDATES:
        version = version_of(command)
        if version is not None and version >= OLDEST:
            return command
    return None


def too_old(version: "tuple[int, int]") -> str:
    """Return the sentence for a Python that is too old."""
    return (
        f"this is Python {version[0]}.{version[1]}, the workshop needs 3.11 or 3.12; none is on the PATH: "
        "on a cluster load one (module avail python), or name one: make lab PYTHON=/path/to/python3.12."
    )


def main(arguments: "list[str]", version: "tuple[int, int]" = sys.version_info[:2]) -> int:
    """Go on under a new enough Python, this one or another; otherwise say so and return 2."""
    if version < OLDEST:
        command = newer_python()
        if command is None:
            sys.stderr.write("make: " + too_old(version) + "\n")
            return EXIT_BAD_INPUT
        os.execvp(command, [command, os.path.abspath(__file__), *arguments])  # noqa: S606
    # In place of this folder, whose modules would otherwise be importable by their bare names.
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    from workshop_utils.bootstrap_start import start

    return start(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
