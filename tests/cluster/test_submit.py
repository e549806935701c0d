"""sbatch as it may behave: slow, refusing, absent; and what of this process's environment it may see."""

import json
import os
import sys
from pathlib import Path

import pytest

from workshop_utils.cluster import submit
from workshop_utils.cluster.messages import Advice
from workshop_utils.errors import WorkshopError

SCRIPT = "#!/bin/bash\n#SBATCH --job-name=$(touch marker)\nhostname\n"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def program(folder: Path, name: str, body: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("printed", "start", "nodes"),
    [
        (
            "sbatch: Job 4711 to start at 2026-11-30T03:14:07 using 16 processors on nodes udc-an34-[1-2] in "
            "partition gpu",
            "2026-11-30T03:14:07", "udc-an34-[1-2]",
        ),
        (
            "sbatch: Job 9 to start at 2026-11-30T03:14:07 a using 1 processors on n1 in partition gpu",
            "2026-11-30T03:14:07", "n1",
        ),
        ("sbatch: all is well", None, None),
    ],
)  # fmt: skip
def test_an_expected_start_is_read(fake: Path, printed: str, start: str | None, nodes: str | None) -> None:
    program(fake, "sbatch", f"echo '{printed}' >&2")
    answer = submit.test_only(SCRIPT)
    assert (answer.accepted, answer.start, answer.nodes) == (True, start, nodes)
    assert str(answer).startswith("Slurm accepts it")


def test_a_refusal_is_translated(fake: Path) -> None:
    program(fake, "sbatch", "echo 'allocation failure: Invalid feature specification' >&2; exit 1")
    answer = submit.test_only(SCRIPT)
    assert not answer.accepted
    assert answer.refusal == Advice("Invalid feature specification", answer.refusal.advice)
    assert "sinfo" in answer.refusal.advice
    with pytest.raises(WorkshopError, match=r"not submitted\. Slurm says: Invalid feature specification"):
        submit.submit(SCRIPT)


def test_the_script_goes_through_no_shell_and_no_variables_of_a_job_follow(
    fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(fake, "sbatch", 'cat > got; printf "%s\\n" "$@" > options; env > environment; echo "17;cluster"')
    for name in ("SLURM_MEM_PER_NODE", "SLURM_JOB_ID", "SBATCH_PARTITION", "SRUN_CPUS_PER_TASK"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    monkeypatch.setenv("MY_OWN", "kept")
    assert submit.submit(SCRIPT, job_name="x") == "17"
    assert (fake / "got").read_text() == SCRIPT
    assert (fake / "options").read_text().split() == ["--parsable", "--job-name=x"]
    environment = (fake / "environment").read_text().splitlines()
    assert [line for line in environment if line.startswith(("SLURM", "SBATCH", "SRUN"))] == [
        "SLURM_CONF=/etc/slurm.conf"
    ]
    assert "MY_OWN=kept" in environment
    path = next(line for line in environment if line.startswith("PATH="))
    assert os.path.dirname(sys.executable) in path.removeprefix("PATH=").split(":")
    assert not (fake / "marker").exists()


def test_a_slurm_that_hangs(fake: Path) -> None:
    program(fake, "sbatch", "exec sleep 30")
    with pytest.raises(WorkshopError, match=r"Slurm did not answer sbatch within 0\.3 s"):
        submit.test_only(SCRIPT, patience_s=0.3)


def test_a_controller_that_is_away_refuses_nothing(fake: Path) -> None:
    said = "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)"
    program(fake, "sbatch", f"echo '{said}' >&2; exit 1")
    with pytest.raises(WorkshopError, match="Slurm's controller does not answer from here"):
        submit.test_only(SCRIPT)


def test_no_slurm(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(fake))
    for ask in (submit.test_only, submit.submit):
        with pytest.raises(WorkshopError, match="there is no sbatch here"):
            ask(SCRIPT)


def test_an_answer_that_is_no_number_is_no_job(fake: Path) -> None:
    program(fake, "sbatch", "echo 'welcome to the cluster'")
    with pytest.raises(WorkshopError, match="not submitted"):
        submit.submit(SCRIPT)


def test_what_is_no_script(fake: Path) -> None:
    program(fake, "sbatch", "echo 1")
    for script in ("#!/bin/sh\n\0", "x" * (submit.MOST_SCRIPT_BYTES + 1)):
        with pytest.raises(WorkshopError, match="this is no script"):
            submit.submit(script)


@pytest.mark.parametrize("job", ["", "--all", "1;2", "$(id)", "-u root", "1 2", "١٢", "9" * 40])
def test_only_a_number_names_a_job(fake: Path, job: str) -> None:
    program(fake, "scancel", "touch called")
    program(fake, "squeue", "touch called")
    for act in (submit.cancel, submit.job_states, lambda name: next(submit.watch(name))):
        with pytest.raises(WorkshopError, match="is no job's number"):
            act(job)
    assert not (fake / "called").exists()


def test_a_job_is_watched_until_all_of_it_is_over(fake: Path) -> None:
    (fake / "answers").write_text(
        json.dumps(
            [
                "5_[0-1]|PENDING|0:00|1:00:00|(Resources)|2026-11-30T04:00:00",
                "5_0|RUNNING|0:01|1:00:00|n1|x\n5_1|PENDING|0:00|1:00:00|(Priority)|N/A",
                "5_0|COMPLETED|0:02|1:00:00|n1|x\n5_1|OUT_OF_MEMORY|0:01|1:00:00|n2|x",
            ]
        )
    )
    # The n-th call prints the n-th answer.
    program(
        fake, "squeue",
        f'exec {sys.executable} -c "import json; found = json.load(open(\'answers\')); print(found[0]); '
        "json.dump(found[1:], open('answers', 'w'))\"",
    )  # fmt: skip
    seen = [str(state) for state in submit.watch("5", every_s=0.01)]
    assert seen == [
        "job 5_[0-1] waits (Resources), expected to start at 2026-11-30T04:00:00",
        "job 5_0 running after 0:01 of 1:00:00 on n1",
        "job 5_1 waits (Priority)",
        "job 5_0 completed after 0:02 of 1:00:00 on n1",
        "job 5_1 out_of_memory after 0:01 of 1:00:00 on n2",
    ]


def test_a_job_that_slurm_does_not_know(fake: Path) -> None:
    program(fake, "squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    assert submit.job_states("12") == []
    with pytest.raises(WorkshopError, match="Slurm knows no job 12"):
        list(submit.watch("12"))
    program(fake, "squeue", "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    with pytest.raises(WorkshopError, match="Unable to contact"):
        submit.job_states("12")


def test_slurm_without_a_cluster_says_so_once(fake: Path) -> None:
    program(fake, "sbatch", "echo 'sbatch: fatal: Could not establish a configuration source' >&2; exit 1")
    with pytest.raises(WorkshopError, match=r"^Slurm's programs are here but no cluster is configured; load"):
        submit.test_only(SCRIPT)
