"""Writes down what Slurm's programs are asked and say, and says it again without Slurm.

A recording is a file of cases. A case holds the calls that a question of ours made, in their order, and the
``script`` or the number of the ``job`` that it was about.
"""

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from workshop_utils.errors import WorkshopError

ANSWERS = Path(__file__).parents[1] / "cluster" / "answers"
RELEASES = ("20.11", "22.05", "24.11", "26.05")


@dataclass(frozen=True)
class Call:
    """One run of a program of Slurm's; ``command`` as a shell would take it."""

    command: str
    returncode: int
    stdout: str
    stderr: str


def read_cases(release: str, what: str) -> dict[str, Any]:
    """Return the cases of ``answers/RELEASE-WHAT.json`` by name."""
    return dict(json.loads((ANSWERS / f"{release}-{what}.json").read_text())["cases"])


def write(what: str, **content: Any) -> None:
    """Write a recording of the release whose programs come first on the path."""
    said = subprocess.run(["sbatch", "--version"], capture_output=True, text=True, check=True).stdout.split()
    release = ".".join(said[1].split(".")[:2])
    head = {"slurm": said[1], "recorded": datetime.now(UTC).date().isoformat()}
    ANSWERS.mkdir(exist_ok=True)
    text = json.dumps({**head, **content}, indent=1, ensure_ascii=False)
    (ANSWERS / f"{release}-{what}.json").write_text(text + "\n")


@contextmanager
def recorded(calls: list[Call]) -> Iterator[None]:
    """Append every run of a program to ``calls``."""
    run = subprocess.run

    def noting(command: Sequence[str], **how: Any) -> subprocess.CompletedProcess[str]:
        done = run(command, **how)
        calls.append(Call(shlex.join(command), done.returncode, done.stdout, done.stderr))
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "run", noting)
        yield


def recorded_case(*questions: Callable[[], object], **more: Any) -> dict[str, Any]:
    """Return the case of some questions; what we make of the answers is for the tests to say."""
    calls: list[Call] = []
    for question in questions:
        with recorded(calls), suppress(WorkshopError):
            question()
    return {**more, "calls": [asdict(call) for call in calls]}


def replay(case: dict[str, Any], patch: pytest.MonkeyPatch) -> None:
    """Let Slurm's programs say what they said in ``case``, to the same questions in the same order only."""
    calls = [Call(**each) for each in case["calls"]]

    def answering(command: Sequence[str], **how: Any) -> subprocess.CompletedProcess[str]:
        assert calls, f"record again with record_releases.sh: nothing recorded asked {command}"
        call = calls.pop(0)
        assert (call.command, case.get("script")) == (shlex.join(command), how.get("input")), "record again"
        return subprocess.CompletedProcess([*command], call.returncode, call.stdout, call.stderr)

    patch.setattr(subprocess, "run", answering)
    patch.setattr(shutil, "which", lambda name: None if name == "seff" else f"/usr/bin/{name}")
