"""What a job used, and what is advised: Slurm's text, a real Slurm with accounting, and a real kill."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.slurm.running import accounts_missing, missing, running_cluster
from workshop_utils.cli import main
from workshop_utils.cluster.job_advice import GpuUse, advice
from workshop_utils.cluster.job_usage import JobUsage, job_usage, read_sacct
from workshop_utils.cluster.nodes import read_nodes
from workshop_utils.cluster.site import find_site
from workshop_utils.cluster.slurm_values import gpus_of, seconds, size_bytes
from workshop_utils.errors import WorkshopError
from workshop_utils.units import GIB, MIB

# As Slurm 22.05 printed them for two real jobs on the test cluster.
KILLED = """\
1|wrap|gpu|OUT_OF_MEMORY|0:125|1|60|1|00:00.120|50M||billing=1,cpu=1,gres/gpu:a40=1,gres/gpu=1,mem=50M,node=1|1
1.batch|batch||OUT_OF_MEMORY|0:125|1||1|00:00.120||0|cpu=1,gres/gpu:a40=1,gres/gpu=1,mem=50M,node=1|1
"""
DONE = """\
2|wrap|gpu|COMPLETED|0:0|4|10|4|00:02.796|1G||billing=4,cpu=4,gres/gpu:a40=1,gres/gpu=1,mem=1G,node=1|1
2.batch|batch||COMPLETED|0:0|4||4|00:00.011||3848K|cpu=4,gres/gpu:a40=1,gres/gpu=1,mem=1G,node=1|1
2.0|python3||COMPLETED|0:0|4||4|00:02.784||211684K|cpu=4,gres/gpu:a40=1,gres/gpu=1,mem=1G,node=1|1
"""
USAGE = JobUsage(
    "7", "run", "gpu", "COMPLETED", "0:0", 3 * 3600, 4 * 3600, 1, 8, 8 * 2.5 * 3600, 64 * GIB, 50 * GIB,
    {"a100": 1},
)  # fmt: skip


def test_sacct_of_a_job_that_ended_well() -> None:
    found = read_sacct(DONE)
    assert found is not None
    assert (found.job, found.state, found.elapsed_s, found.limit_s) == ("2", "COMPLETED", 4, 600)
    assert (found.cores, found.memory_bytes, found.most_rss_bytes) == (4, GIB, 211_684 * 1024)
    assert found.cpu_share == pytest.approx(2.796 / 16)
    assert found.gpus == {"a40": 1}
    said = " ".join(advice(found))
    assert "It kept 0.7 of 4 cores busy" in said
    assert "unless a short part of it needs them all" in said


def test_a_memory_kill_is_explained_as_cpu_memory() -> None:
    found = read_sacct(KILLED)
    assert found is not None
    (sentence,) = advice(found)
    start = "It was ended because it used all of its CPU memory of 50.0 MiB (not GPU memory)"
    assert sentence.startswith(start)
    # Where a cgroup kills the process and Slurm says only FAILED.
    failed = replace(USAGE, state="FAILED", exit_code="137:0", most_rss_bytes=63 * GIB)
    assert advice(failed)[0].startswith("It was ended because it used all of its CPU memory of 64.0 GiB")
    assert "--mem=128G a node" in advice(failed)[0] or "--mem=129G a node" in advice(failed)[0]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"state": "TIMEOUT"}, "It was ended at its time limit of 4.0 h"),
        ({"state": "FAILED", "exit_code": "1:0"}, "It failed with exit code 1:0"),
        ({"state": "NODE_FAIL"}, "submit it again"),
        ({"most_rss_bytes": 6 * GIB}, "It used 6.0 GiB of 64.0 GiB of CPU memory: --mem=8G would have done"),
        ({"elapsed_s": 600, "cpu_s": 4800}, "It took 10 min of 4.0 h: a shorter --time often starts sooner"),
        ({"cpu_s": 3 * 3600}, "It kept 1.0 of 8 cores busy: 2 would have done"),
        ({"cpu_s": 3 * 3600, "nodes": 4}, "It kept 1.0 of 8 cores busy: 4 would have done"),
        ({"most_rss_bytes": 80 * GIB}, "had asked for 64.0 GiB: ask for --mem=100G, or it takes"),
    ],
)
def test_advice_of_one_kind(change: dict[str, object], sentence: str) -> None:
    assert sentence in " ".join(advice(replace(USAGE, **change)))  # type: ignore[arg-type]


def test_a_request_that_was_right_gets_no_advice() -> None:
    assert advice(USAGE) == []


def test_gpus_that_were_too_large_and_idle() -> None:
    gpus = [GpuUse("NVIDIA A100", 31 * GIB, 80 * GIB, 85.0), GpuUse("NVIDIA A100", 30 * GIB, 80 * GIB, 4.0)]
    said = advice(USAGE, gpus, find_site("uva"))
    assert said[0].startswith("1 of 2 GPUs were busy less than 20 % of the time")
    assert said[1] == (
        "Its GPUs held 31.0 GiB of 80.0 GiB: A40, with 44.4 GiB, would have done, and fewer people wait for "
        "it."
    )
    recorded = Path(__file__).parents[2] / "notebooks" / "recorded" / "queue_of_a_test_cluster.json"
    nodes = read_nodes("\n".join(json.loads(recorded.read_text())["lines"])).nodes
    assert advice(USAGE, gpus, find_site("uva"), nodes)[1].endswith("would have done, and 5 are free now.")
    assert not advice(USAGE, [GpuUse("NVIDIA A100", 70 * GIB, 80 * GIB, 85.0)], find_site("uva"))


@pytest.mark.parametrize(
    ("peak_gib", "count", "elapsed_h", "name"),
    [
        # Not V100 or RTX 2080 Ti, which have no bfloat16.
        (28, 1, 3, "A40"), (9.5, 1, 3, "RTX 3090"),
        # A job may have one slice, two GPUs of the interactive partition, and twelve hours there.
        (8, 1, 3, "MIG 1g.10gb"), (8, 2, 3, "RTX 3090"), (8, 4, 3, "A40"), (20, 1, 13, "A40"),
    ],
)  # fmt: skip
def test_the_type_that_would_have_done_could_have(
    peak_gib: float, count: int, elapsed_h: int, name: str
) -> None:
    gpus = [GpuUse("NVIDIA A100", round(peak_gib * GIB), 80 * GIB, 85.0)] * count
    usage = replace(USAGE, elapsed_s=elapsed_h * 3600, limit_s=16 * 3600)
    assert f"{name}, with" in advice(usage, gpus, find_site("uva"))[-1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("50M", 50 * MIB), ("1.50G", 1.5 * GIB), ("0", 0), ("", None), ("1X", None), ("..", None)],
)
def test_sizes(text: str, expected: int | None) -> None:
    assert size_bytes(text) == expected


def test_times_and_gpus() -> None:
    assert seconds("1-02:03:04") == 93784
    assert seconds("00:02.796") == pytest.approx(2.796)
    assert seconds("nonsense") == 0
    assert gpus_of("cpu=1,gres/gpu=3") == {"gpu": 3}
    assert gpus_of("cpu=1") == {}


def test_older_slurms_memory_is_a_nodes_or_a_cores() -> None:
    old = "9|w|gpu|COMPLETED|0:0|10|60|8|00:10|4Gn|||2\n"
    found = read_sacct(old)
    assert found is not None and found.memory_bytes == 8 * GIB
    found = read_sacct(old.replace("4Gn", "1Gc"))
    assert found is not None and found.memory_bytes == 8 * GIB


def test_lines_of_another_shape_are_passed_over() -> None:
    assert read_sacct("slurm says something new\n") is None
    assert read_sacct("x|y\n" + DONE) is not None


@pytest.mark.parametrize("job", ["", "abc", "1;rm -rf", "1 2", "--help"])
def test_a_job_that_is_no_number_never_reaches_slurm(job: str) -> None:
    with pytest.raises(WorkshopError, match="is no job number"):
        job_usage(job)


def test_the_centres_seff_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in {"sacct": DONE, "seff": "CPU Efficiency: 17.47% of 00:00:16 core-walltime"}.items():
        (tmp_path / f"{name}.txt").write_text(text)
        (tmp_path / name).write_text(f"#!/bin/sh\n/bin/cat {tmp_path / name}.txt\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["efficiency", "2"]) == 0
    text = capsys.readouterr().out
    assert "Job 2 (wrap), COMPLETED, on 1 node, 1 × a40:" in text
    assert "The centre's seff says:\nCPU Efficiency: 17.47%" in text
    assert "How its GPUs were used is not known" in text


@pytest.fixture(scope="module")
def accounting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A real Slurm with accounting, and with memory limits where cgroups can be written."""
    if reason := missing() or accounts_missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("accounting")
    limits = os.getuid() == 0 and os.access("/sys/fs/cgroup/memory", os.W_OK)
    settings = {"ACCT": "1", "CGROUP": "1" if limits else "0"}
    with running_cluster(folder, **settings) as environment:
        yield {**environment, "LIMITS": "yes" if limits else ""}


def submitted(environment: dict[str, str], folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["sbatch", "--parsable", "--partition=gpu", "--account=mygroup", "--gres=gpu:a40:1", *words],
        env=environment, capture_output=True, text=True, timeout=30, check=True, cwd=folder,
    )  # fmt: skip
    return done.stdout.strip()


def efficiency(environment: dict[str, str], job: str) -> dict[str, object]:
    """Ask until the job has ended and the accounting knows."""
    words = [sys.executable, "-m", "workshop_utils", "efficiency", job, "--json"]
    for _ in range(60):
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=30, check=False)
        if done.returncode == 0:
            found: dict[str, object] = json.loads(done.stdout)
            if found["state"] not in ("PENDING", "RUNNING", "COMPLETING"):
                return found
        time.sleep(0.5)
    raise AssertionError(f"job {job} did not end: {done.stdout}{done.stderr}")


def test_a_real_job_is_measured(accounting: dict[str, str], tmp_path: Path) -> None:
    work = "import time; x = bytearray(200 << 20); end = time.time() + 3\nwhile time.time() < end: pass"
    command = f"srun {sys.executable} -c '{work}'"
    job = submitted(accounting, tmp_path, "-c", "4", "--mem=1G", "-t", "10", "--wrap", command)
    found = efficiency(accounting, job)
    assert found["state"] == "COMPLETED"
    assert found["gpus"] == {"a40": 1}
    assert found["memory_bytes"] == GIB
    assert 190 * MIB < found["most_rss_bytes"] < 400 * MIB  # type: ignore[operator]
    assert any("of 4 cores busy" in sentence for sentence in found["advice"])  # type: ignore[attr-defined]


def test_a_really_killed_job_is_explained(accounting: dict[str, str], tmp_path: Path) -> None:
    if not accounting["LIMITS"]:
        pytest.skip("needs root and cgroup v1 for real memory limits")
    job = submitted(
        accounting, tmp_path, "--mem=50M", "--wrap", f"{sys.executable} -c 'bytearray(300 << 20)'"
    )
    found = efficiency(accounting, job)
    assert found["state"] in ("OUT_OF_MEMORY", "FAILED")
    assert "used all of its CPU memory of 50.0 MiB" in found["advice"][0]  # type: ignore[index]


def test_a_job_that_slurm_does_not_know(accounting: dict[str, str]) -> None:
    words = [sys.executable, "-m", "workshop_utils", "efficiency", "987654"]
    done = subprocess.run(words, env=accounting, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert "Slurm's accounting knows no job 987654" in done.stderr


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (
            "Slurm accounting storage is disabled",
            "while it runs, `squeue --jobs=7` and `scontrol",
        ),
        ("sacct: fatal: Could not establish a configuration source", "are here but no cluster is configured"),
    ],
)
def test_no_accounts_and_no_cluster_say_what_to_do(
    said: str,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "sacct").write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    (tmp_path / "sacct").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["efficiency", "7"]) == 2
    assert sentence in capsys.readouterr().err
