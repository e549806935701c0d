"""Slurm's messages, as recorded on 20.11 to 26.05 (CLUSTER's table), and what to change."""

import pytest

from workshop_utils.cluster.messages import translate
from workshop_utils.cluster.site import find_site

UVA = find_site("uva")


@pytest.mark.parametrize(
    ("text", "said", "advice"),
    [
        ("allocation failure: Requested node configuration is not available", None, "a100 8, a6000 8"),
        ("allocation failure: Invalid feature specification", None, "a100_80gb, gpupod, a100_40gb"),
        ("allocation failure: Node count specification invalid", None, "uva gives a job 4"),
        (
            "sbatch: error: QOSMaxGRESPerJob\nallocation failure: Job violates accounting/QOS policy (job "
            "submit limit, user's size and/or time limits)",
            "QOSMaxGRESPerJob",
            "uva gives a job 32",
        ),
        ("AssocGrpCPUMinutesLimit", None, "Your allocation has not enough left"),
        ("QOSMaxSubmitJobPerUserLimit", None, "as many jobs as they may"),
        ("QOSMaxNodePerUserLimit", None, "uva gives a job 32"),
        ("allocation failure: Required node not available (down, drained or reserved)", None, "drained"),
        (
            "sbatch: error: invalid partition specified: gpus\nallocation failure: Invalid partition name "
            "specified",
            "invalid partition specified: gpus",
            "one of gpu, interactive, gpu-mig",
        ),
        (
            "sbatch: error: Batch job submission failed: No partition specified or system default partition",
            "No partition specified or system default partition",
            "one of gpu, interactive, gpu-mig",
        ),
        (
            "allocation failure: Requested time limit is invalid (missing or exceeds some limit)",
            None,
            "gpu 72 h, interactive 12 h",
        ),
        ("sbatch: error: Invalid generic resource (gres) specification", None, "--gres=gpu:TYPE:NUMBER"),
        ("sbatch: error: Invalid Trackable RESource (TRES) specification", None, "--gres=gpu:TYPE:NUMBER"),
        (
            "allocation failure: Invalid account or account/partition combination specified",
            None,
            "sacctmgr show associations",
        ),
        (
            "sbatch: unrecognized option '--foo=3'\nTry \"sbatch --help\" for more information",
            "unrecognized option '--foo=3'",
            "no option that this Slurm knows",
        ),
        (
            "sbatch: error: Batch script contains DOS line breaks (\\r\\n)\nsbatch: error: instead of "
            "expected UNIX line breaks (\\n).",
            None,
            "Windows' line ends",
        ),
        (
            "sbatch: error: This does not look like a batch script.  The first\nsbatch: error: line must "
            "start with #! followed by the path to an interpreter.",
            "This does not look like a batch script",
            "The first line has to be #!/bin/bash",
        ),
        ("sbatch: fatal: Could not establish a configuration source", None, "no cluster is configured; load"),
        ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", None, "try again"),
        ("srun: fatal: SLURM_MEM_PER_CPU and SLURM_MEM_PER_NODE are mutually exclusive.", None, "SLURM_CONF"),
    ],
)  # fmt: skip
def test_a_message_says_what_to_change(text: str, said: str | None, advice: str) -> None:
    found = translate(text, UVA)
    assert said is None or found.said == said
    assert advice in found.advice
    assert str(found).startswith(f"Slurm says: {found.said}. ")
    assert translate(text).advice, "without a site file there is advice, too"


def test_an_unknown_message_is_quoted_as_it_is() -> None:
    found = translate("sbatch: error: The moon is in the wrong house.\n", UVA)
    assert (found.said, found.advice) == ("The moon is in the wrong house", "")
    assert str(found) == "Slurm says: The moon is in the wrong house."


def test_silence_is_told_as_such() -> None:
    assert translate("").said == "nothing"


def test_the_check_does_not_send_to_the_check() -> None:
    assert "--check" not in str(translate("Requested node configuration is not available", UVA))
