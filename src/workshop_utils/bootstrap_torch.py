"""Which build of PyTorch goes into the environment, and the commands that put it there. Pure, but for `site`.

``uv`` knows PyTorch's own indexes and which of them fits a driver (``--torch-backend``), so that no address
of an index stands in this repository.
"""

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from workshop_utils.errors import WorkshopError

CHOICES = ("pypi", "auto", "cpu", "cu126", "cu128", "cu130", "site")
DEFAULT = "pypi"
OLDEST_SITE_TORCH = (2, 11)


def check_choice(torch: str) -> None:
    """Raise ``WorkshopError`` for a build that is not among the choices."""
    if torch not in CHOICES:
        raise WorkshopError(
            f"TORCH={torch} is not a build of PyTorch that is known here; choose from {', '.join(CHOICES)}."
        )


def install_commands(
    torch: str, python: Path, constraints: Path, requirement: Sequence[str]
) -> list[tuple[str, list[str]]]:
    """Return ``(what the reader is told, command)``, in order, for one choice of torch.

    ``python`` is the environment's, ``requirement`` the words by which pip is told what to install.
    """
    pip = [str(python), "-m", "pip", "install", "--constraint", str(constraints)]
    rest = ("installing the packages and building the panel", [*pip, *requirement])
    if torch in {"pypi", "site"}:
        return [rest]
    uv = [str(python), "-m", "uv", "pip", "install", "--python", str(python), f"--torch-backend={torch}"]
    return [
        ("installing uv, which picks the build of PyTorch", [*pip, "uv"]),
        (f"installing PyTorch ({torch})", [*uv, "--constraint", str(constraints), "torch"]),
        rest,
    ]


def site_constraints(text: str, version: str) -> str:
    """Return the constraints with the centre's torch, to the letter, in the place of the pinned one.

    So pip keeps ``2.11.0+cu130`` where it would otherwise fetch another build over it.
    """
    return re.sub(r"^torch==.*$", f"torch==={version}", text, flags=re.MULTILINE)


def site_torch(python: Path) -> tuple[str, str | None]:
    """Return version and CUDA version of the torch that ``python`` already sees.

    Raises ``WorkshopError`` when there is none, when it fails to load, or when it is too old.
    """
    question = "import json, torch; print(json.dumps([str(torch.__version__), torch.version.cuda]))"
    answer = subprocess.run([str(python), "-c", question], capture_output=True, text=True, check=False)
    if answer.returncode:
        reason = answer.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise WorkshopError(
            f"TORCH=site, but this Python cannot import torch ({reason[0]}); load the centre's PyTorch "
            "module first or name its Python with PYTHON=, or take another build with TORCH=auto."
        )
    version, cuda = json.loads(answer.stdout)
    if version_numbers(version) < OLDEST_SITE_TORCH:
        raise WorkshopError(
            f"TORCH=site finds torch {version}, and the workshop needs 2.11 or newer; load a newer module, "
            "or take another build with TORCH=auto."
        )
    return version, cuda


def version_numbers(version: str) -> tuple[int, ...]:
    """Return the first two numbers of a version, as in (2, 11) for ``2.11.0+cu130``."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])
