"""What sbatch of four releases of Slurm answered (``tests/slurm/record_requests.py``), read by us."""

import json
import re

import pytest

from tests.cluster.plans import site_of
from tests.slurm.recording import ANSWERS, RELEASES, read_cases, replay
from workshop_utils.cluster import submit
from workshop_utils.errors import WorkshopError

EVERY_RELEASE = pytest.mark.parametrize("release", RELEASES)
NO_NODE, TOO_MUCH_TIME, MALFORMED_GPUS = (
    "No node has all of this together",
    "gpu 72 h",
    "--gres=gpu:TYPE:NUMBER",
)
NO_ACCOUNT, CORES = (
    "This account does not exist, or you or the partition may not use it",
    "lower --cpus-per-task",
)
# By case, or by all that begin so: what is advised; None for what Slurm accepts.
ADVISED = {
    "gpu_type-": NO_NODE,
    "gpu_type_case": NO_NODE,
    "gpus_per_node-": NO_NODE,
    "type_and_constraint": NO_NODE,
    "constraint": "a100_80gb, gpupod, a100_40gb",
    "memory-": NO_NODE,
    "nodes-": "uva gives a job 4",
    "gpu_limit": "uva gives a job 32",
    "partition-": "one of gpu, interactive, gpu-mig",
    "no_partition": "one of gpu, interactive, gpu-mig",
    "time-": TOO_MUCH_TIME,
    "malformed-uva-gres": MALFORMED_GPUS,
    "malformed-uva-": "no option that this Slurm knows, or has a value that it does not read",
    "type_in_partition": NO_NODE,
    "whole_nodes": None,
    "account-": None,
    "no_gpus": None,
    "account_unknown": NO_ACCOUNT,
    "qos_unknown": "Leave --qos out",
    "reservation_unknown": "leave --reservation out",
    "node_unknown": "--nodelist or --exclude names a node that is not here",
    "array_too_large": "--array=0-7",
    "cores_of_no_node": CORES,
    "tasks_of_no_node": CORES,
    "memory_of_no_node": NO_NODE,
    "memory_of_a_core_of_no_node": NO_NODE,
    "gpus_malformed": MALFORMED_GPUS,
    "gpus_per_node_malformed": MALFORMED_GPUS,
    "gpus_too_many": "uva gives a job 32",
    "gres_unknown": MALFORMED_GPUS,
    "option_unknown": "no option that this Slurm knows",
    "both_memories": "keep one of --mem (of a node), --mem-per-cpu",
    "time_zero": TOO_MUCH_TIME,
    "dos_lines": "Windows' line ends",
    "no_shebang": "The first line has to be #!/bin/bash",
    "empty": "Nothing was given to run",
    "partition_down": None,
    "partition_inactive": "This partition takes no jobs now",
    "partition_of_others": NO_ACCOUNT,
    "jobs_too_many": "as many jobs as they may",
    "qos_time": "The time is over what your account or QOS gives",
    "qos_cores": "More cores than your account or QOS may have",
    "qos_memory": "More CPU memory than your account or QOS may have",
    "nodes_drained": "the nodes that have it are drained or down: `workshop gpus --nodes`",
}
# Slurm looks whether the job that one waits for exists.
LOOKS_AT_DEPENDENCIES = ("24.11", "26.05")


def advised(case: str, release: str) -> str | None:
    if case == "dependency_unknown":
        return "names a job that does not exist" if release in LOOKS_AT_DEPENDENCIES else None
    return ADVISED[next(name for name in (case, *ADVISED) if name in ADVISED and case.startswith(name))]


@EVERY_RELEASE
def test_every_refusal_says_what_to_change(release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = read_cases(release, "refusals")
    assert len(cases) >= 50
    for name, case in cases.items():
        replay(case, monkeypatch)
        answer, words = submit.test_only(case["script"], site_of("uva")), advised(name, release)
        assert answer.accepted is (words is None), (name, str(answer))
        if words is None:
            assert answer.start and answer.nodes, name
            continue
        assert answer.refusal and words in answer.refusal.advice, (name, str(answer))
        assert not re.search(r"sbatch:|failed:|failure:", answer.refusal.said), name


@EVERY_RELEASE
def test_what_is_submitted_all_the_same_is_refused_as_it_was_told(
    release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, case in read_cases(release, "refusals").items():
        words = advised(name, release)
        if words is None:
            continue
        replay(case, monkeypatch)
        submit.test_only(case["script"], site_of("uva"))
        if name == "nodes_drained":
            # It waits until they come back: --test-only does not say so on any release.
            assert submit.submit(case["script"], site_of("uva")).isdigit()
            continue
        with pytest.raises(WorkshopError, match="not submitted") as refused:
            submit.submit(case["script"], site_of("uva"))
        # Submitted, a job with too much memory gets a line of its own.
        assert words in str(refused.value) or "lower --mem" in str(refused.value), name


@EVERY_RELEASE
@pytest.mark.parametrize("name", ["uva", "example"])
def test_every_request_of_the_planner_was_accepted(
    name: str, release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = json.loads((ANSWERS / f"{release}-requests-{name}.json").read_text())
    assert recording["slurm"].startswith(release)
    assert recording["accepted"] == recording["asked"] > (400 if name == "uva" else 100)
    assert recording["cases"]["refused"] == []
    for case in recording["cases"]["accepted"]:
        replay(case, monkeypatch)
        answer = submit.test_only(case["script"], site_of(name))
        assert answer.accepted and answer.nodes
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d", answer.start or "")
