"""What four releases of Slurm said of jobs that really ran (``tests/slurm/record_jobs.py``), read by us."""

import pytest

from tests.slurm.recording import RELEASES, read_cases, replay
from workshop_utils.cluster import submit
from workshop_utils.cluster.job_advice import advice
from workshop_utils.cluster.job_usage import JobUsage, job_usage
from workshop_utils.cluster.nodes_step import job_node_names
from workshop_utils.cluster.partitions import PartitionLimits, ask_partitions
from workshop_utils.cluster.slurm_values import size_bytes
from workshop_utils.errors import WorkshopError
from workshop_utils.units import GIB, MIB

EVERY_RELEASE = pytest.mark.parametrize("release", RELEASES)
MEMORY = "It was ended because it used all of its CPU memory of 50.0 MiB"
# By case: state, exit code, nodes, cores, memory, GPUs, and what is advised: "" for nothing, None where
# that depends on the machine's pace, or on memory of which releases see more or less.
ENDED = {
    "completed": ("COMPLETED", "0:0", 1, 2, GIB, {"a40": 1}, None),
    "failed": ("FAILED", "3:0", 1, 1, 100 * MIB, {}, "It failed with exit code 3:0"),
    "signalled": ("FAILED", "0:9", 1, 1, 100 * MIB, {}, "It failed with exit code 0:9"),
    "memory": ("OUT_OF_MEMORY", "0:125", 1, 1, 50 * MIB, {"a40": 1}, MEMORY),
    "timeout": ("TIMEOUT", "0:0", 1, 1, 100 * MIB, {}, "It was ended at its time limit of 60 s"),
    "two_nodes": ("COMPLETED", "0:0", 2, 2, 400 * MIB, {"a40": 4}, "a shorter --time often starts sooner"),
    "any_gpu": ("COMPLETED", "0:0", 1, 1, 100 * MIB, {"a40": 1}, ""),
    "memory_of_a_core": ("COMPLETED", "0:0", 1, 2, 200 * MIB, {}, ""),
    "memory_unasked": ("COMPLETED", "0:0", 1, 1, 6 * GIB, {}, None),
    "memory_of_a_node": ("COMPLETED", "0:0", 1, 1, 8000 * MIB, {}, None),
    "bar_in_its_name": ("COMPLETED", "0:0", 1, 1, 100 * MIB, {}, ""),
    "array_second": ("FAILED", "1:0", 1, 1, 100 * MIB, {}, "It failed with exit code 1:0"),
    "cancelled": ("CANCELLED", "0:0", 1, 2, GIB, {"a40": 1}, ""),
}  # fmt: skip
# What `workshop request --watch` says of a job at its end, from squeue.
SHOWN = {
    "completed": "completed after 0:0{} of 10:00 on rec1",
    "failed": "failed after 0:0{} of 10:00 (NonZeroExitCode)",
    "memory": "out_of_memory after 0:0{} of 10:00 (OutOfMemory)",
    "timeout": "timeout after 1:{} of 1:00 (TimeLimit)",
    "two_nodes": "completed after 0:0{} of 1-02:00:00 on rec[1-2]",
    "cancelled_before_it_ran": "cancelled after 0:00 of 10:00",
}


def read(release: str, case: str, patch: pytest.MonkeyPatch) -> tuple[JobUsage, list[submit.JobState]]:
    """Return what ``workshop efficiency`` and ``workshop request --watch`` make of a case."""
    found = read_cases(release, "jobs")[case]
    replay(found, patch)
    return job_usage(found["job"]), submit.job_states(found["job"])


@EVERY_RELEASE
@pytest.mark.parametrize("case", ENDED)
def test_a_job_reads_the_same_on_every_release(
    case: str, release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, exit_code, nodes, cores, memory, gpus, sentence = ENDED[case]
    usage, (shown,) = read(release, case, monkeypatch)
    assert (usage.state, usage.exit_code, usage.nodes, usage.cores) == (state, exit_code, nodes, cores)
    assert (usage.memory_bytes, usage.gpus, usage.partition) == (memory, gpus, "gpu")
    assert (shown.state, shown.over) == (state, True)
    said = " ".join(advice(usage))
    if sentence is not None:
        assert sentence in said and bool(sentence) == bool(said)


@EVERY_RELEASE
@pytest.mark.parametrize("case", SHOWN)
def test_the_end_of_a_job_is_told(case: str, release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, (shown,) = read(release, case, monkeypatch)
    before, _, after = SHOWN[case].partition("{}")
    assert str(shown).startswith(f"job {shown.job} {before}")
    assert str(shown).endswith(after)


@EVERY_RELEASE
def test_time_and_memory_of_a_step_are_a_jobs(release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usage, _ = read(release, "completed", monkeypatch)
    assert usage.most_rss_bytes is not None
    assert 60_000_000 < usage.most_rss_bytes < 150_000_000
    assert 4 <= usage.elapsed_s <= 10
    assert 1 < usage.cpu_s < 6
    assert usage.limit_s == 600
    usage, _ = read(release, "two_nodes", monkeypatch)
    assert usage.limit_s == 26 * 3600
    usage, _ = read(release, "bar_in_its_name", monkeypatch)
    assert usage.name == "a|b"


@EVERY_RELEASE
def test_a_step_that_was_ended_for_its_memory(release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """20.11 calls the whole job OUT_OF_MEMORY, later releases FAILED or COMPLETED."""
    old = release == "20.11"
    usage, _ = read(release, "memory_in_a_step", monkeypatch)
    assert usage.state == ("OUT_OF_MEMORY" if old else "FAILED")
    (sentence,) = advice(usage)
    assert sentence.startswith(MEMORY)
    usage, _ = read(release, "memory_in_a_step_before_others", monkeypatch)
    assert usage.state == ("OUT_OF_MEMORY" if old else "COMPLETED")
    (sentence,) = advice(usage)
    assert sentence.startswith(MEMORY if old else MEMORY.replace("It", "A step of it", 1))


@EVERY_RELEASE
@pytest.mark.parametrize("case", ["running", "suspended"])
def test_what_a_running_job_uses_is_asked_of_its_steps(
    case: str, release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = read_cases(release, "jobs")[case]["calls"]
    assert [call["command"].split()[0] for call in calls] == ["sacct", "sstat", "squeue"]
    usage, (shown,) = read(release, case, monkeypatch)
    assert usage.state == shown.state == case.upper()
    assert usage.most_rss_bytes is not None and 0 < usage.most_rss_bytes < 100 * MIB
    # Some releases tell of 213503982334 days of a step that has used none.
    assert 1 < usage.cpu_s < 20
    assert (usage.gpus, usage.cores) == ({"a40": 1}, 2)
    assert shown.why == "rec1" and not shown.over


@EVERY_RELEASE
def test_a_job_that_never_ran_and_one_that_lost_its_node(
    release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20.11 shows the cores that a job would have had, and no exit code of a job that lost its node."""
    usage, (shown,) = read(release, "cancelled_before_it_ran", monkeypatch)
    assert (usage.state, shown.state, usage.elapsed_s) == ("CANCELLED", "CANCELLED", 0)
    assert usage.cpu_share is None and advice(usage) == []
    usage, (shown,) = read(release, "node_fail", monkeypatch)
    assert (usage.state, shown.state) == ("NODE_FAIL", "NODE_FAIL")
    assert advice(usage) == ["The node, not the job, was the cause: submit it again."]


@EVERY_RELEASE
def test_a_job_that_waits(release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usage, (shown,) = read(release, "pending", monkeypatch)
    assert (usage.state, usage.cpu_share, usage.gpus) == ("PENDING", None, {})
    assert usage.memory_bytes == GIB
    assert advice(usage) == []
    assert str(shown).startswith(f"job {shown.job} waits (BeginTime), expected to start at 20")


@EVERY_RELEASE
def test_one_job_of_an_array_has_its_own_steps_alone(release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = read_cases(release, "jobs")["array_running"]
    steps = found["calls"][1]["stdout"].splitlines()
    usage, (shown,) = read(release, "array_running", monkeypatch)
    own = [line.split("|") for line in steps if line.startswith(f"{usage.job}.")]
    assert own and len(own) < len(steps), "sstat tells of the whole array"
    assert usage.most_rss_bytes == max(size_bytes(cells[1]) or 0 for cells in own)
    assert shown.job == found["job"] and shown.state == "RUNNING"


@EVERY_RELEASE
def test_an_array_ends_with_all_of_its_jobs(release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, states = read(release, "array", monkeypatch)
    ends = {each.job.partition("_")[2]: each.state for each in states}
    assert ends == {"0": "COMPLETED", "1": "FAILED"}


@EVERY_RELEASE
def test_a_job_is_watched_from_its_wait_to_its_end(release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = read_cases(release, "jobs")["watched"]
    replay(found, monkeypatch)
    states = [each.state for each in submit.watch(found["job"], every_s=0)]
    assert states[0] == "PENDING" and states[-1] == "COMPLETED" and "RUNNING" in states
    assert states == sorted(states, key=["PENDING", "RUNNING", "COMPLETING", "COMPLETED"].index)


@EVERY_RELEASE
def test_a_job_that_no_release_knows(release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = read_cases(release, "jobs")["unknown"]
    replay(found, monkeypatch)
    with pytest.raises(WorkshopError, match="accounting knows no job 987654"):
        job_usage(found["job"])
    assert submit.job_states(found["job"]) == []


@EVERY_RELEASE
@pytest.mark.parametrize("case", ["cancel_cancelled", "cancel_cancelled_before_it_ran"])
def test_a_job_is_cancelled(case: str, release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = read_cases(release, "jobs")[case]
    replay(found, monkeypatch)
    submit.cancel(found["job"])


@EVERY_RELEASE
def test_nodes_and_partitions(release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = read_cases(release, "jobs")
    replay(cases["partitions"], monkeypatch)
    assert ask_partitions() == (
        PartitionLimits("gpu", 72, 4, False),
        PartitionLimits("interactive", 12, 2, False),
    )
    replay(cases["nodes_of_a_job"], monkeypatch)
    assert job_node_names(cases["nodes_of_a_job"]["job"]) == ["rec1"]
