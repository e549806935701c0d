"""``workshop gpus`` over a Slurm that is real, that hangs, that fails and that is not there."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.slurm.running import missing, running_cluster
from workshop_utils.cluster import slurm
from workshop_utils.cluster.nodes import ask_nodes
from workshop_utils.errors import WorkshopError

SINFO = Path(__file__).with_name("sinfo") / "slurm-22.05.txt"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    if reason := missing():
        pytest.skip(reason)
    with running_cluster(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


def workshop(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "workshop_utils", "gpus", *words], env=environment, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture
def fake(tmp_path: Path) -> dict[str, str]:
    """Return an environment whose sinfo is a script of ours: it prints what was recorded."""
    return faked(tmp_path, f"cat {SINFO}")


def faked(folder: Path, command: str) -> dict[str, str]:
    program = folder / "sinfo"
    program.write_text(f"#!/bin/sh\n{command}\n")
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


def test_on_a_real_cluster_a_job_takes_its_gpus(cluster: dict[str, str]) -> None:
    before = json.loads(workshop(cluster, "--json").stdout)
    free = {row["type"]: row["free"] for row in before["gpus"]}
    assert free == {"a6000": 8, "rtx3090": 4, "a100": 48, "v100": 4, "a40": 8, "h200": 8}
    assert before["unread"] == []
    job = ["srun", "--partition=gpu", "--gres=gpu:a40:3", "--mem=1G", sys.executable, "-m", "workshop_utils"]
    inside = subprocess.run(
        [*job, "gpus", "--type", "A40", "--json"], env=cluster, capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    (row,) = json.loads(inside.stdout)["gpus"]
    assert (row["total"], row["free"], row["usable"]) == (8, 5, 5)


def test_one_partition_of_a_real_cluster(cluster: dict[str, str]) -> None:
    found = json.loads(workshop(cluster, "--partition", "interactive", "--json").stdout)
    assert [row["type"] for row in found["gpus"]] == ["rtx3090"]


def test_the_table_says_why_free_gpus_cannot_be_had(fake: dict[str, str]) -> None:
    said = workshop(fake, "--nodes").stdout
    assert "idle" not in said
    for words in ("drained: bad fan, ticket 42", "0 cores free", "11 GB of memory free"):
        assert words in said
    a100 = next(line.split() for line in said.splitlines() if line.startswith("a100"))
    assert a100[1:5] == ["48", "48", "40", "8"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["--type", "b200"],
            "no GPU of type b200 here; choices: a6000, rtx3090, a100, v100, a40, h200.",
        ),
        (["--cores", "0"], "--cores must be 1 or more"),
        (["--memory-gb", "-1"], "--memory-gb from 0 to"),
        (["--memory-gb", "nan"], "--memory-gb from 0 to"),
        (["--hours", "inf"], "--hours must be above 0"),
        (["--hours", "nan"], "--hours must be above 0"),
        (["--hours", "0"], "--hours must be above 0"),
    ],
)
def test_bad_input_is_one_sentence(fake: dict[str, str], words: list[str], sentence: str) -> None:
    done = workshop(fake, *words)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_partition_without_gpus(tmp_path: Path) -> None:
    done = workshop(faked(tmp_path, "true"), "--partition", "standard")
    assert done.returncode == 2
    assert "no node of partition standard has a GPU" in done.stderr


def test_a_line_that_cannot_be_read_is_reported(tmp_path: Path) -> None:
    done = workshop(faked(tmp_path, f"printf 'maintenance \\033[31m     at noon\\n'; cat {SINFO}"))
    assert done.returncode == 0
    assert "1 line of sinfo could not be read; the first: maintenance [31m at noon" in done.stdout


def test_no_slurm(tmp_path: Path) -> None:
    done = workshop({**os.environ, "PATH": str(tmp_path)})
    assert done.returncode == 2
    assert "there is no sinfo here: this machine has no Slurm" in done.stderr


def test_slurms_own_words_are_quoted(tmp_path: Path) -> None:
    done = workshop(faked(tmp_path, "echo 'sinfo: error: no controller' >&2; exit 1"))
    assert done.returncode == 2
    assert "sinfo failed: sinfo: error: no controller" in done.stderr


def test_a_slurm_that_hangs_is_left_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", faked(tmp_path, "exec sleep 30")["PATH"])
    monkeypatch.setattr(slurm.ask, "__defaults__", ((), 0.5))
    with pytest.raises(WorkshopError, match=r"Slurm did not answer sinfo within 0\.5 s"):
        ask_nodes()


def test_when_a_job_would_start_is_asked_of_slurm(cluster: dict[str, str]) -> None:
    rows = json.loads(workshop(cluster, "--start", "--hours", "2", "--json").stdout)["gpus"]
    for row in rows:
        assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d", row["start"]), row
    text = workshop(cluster, "--start").stdout
    assert "one could start" in text.splitlines()[0]
    long = json.loads(workshop(cluster, "--start", "--hours", "900", "--json").stdout)["gpus"]
    assert all(row["start"].startswith("refused: Requested time limit is invalid") for row in long)


@pytest.mark.parametrize("words", [("--account", "a\n#SBATCH --x"), ("--partition", "gpu; rm")])
def test_what_is_no_name_never_reaches_a_script(words: tuple[str, str]) -> None:
    done = workshop(dict(os.environ), "--start", *words)
    assert done.returncode == 2
    assert "is no name of Slurm's" in done.stderr
