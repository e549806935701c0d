"""What programs say where daemons are away, there are no accounts, or no cluster: ``RELEASE-silence.json``.

Run by ``record_releases.sh``, with configurations that ``other_release.sh`` makes beside the cluster's own.
"""

from collections.abc import Callable
from typing import Any

import pytest

from tests.slurm.recording import recorded_case, write
from workshop_utils.cluster import submit
from workshop_utils.cluster.job_usage import job_usage
from workshop_utils.cluster.nodes import ask_nodes

SCRIPT = "#!/bin/bash\n#SBATCH --partition=gpu --account=mygroup\nhostname\n"
JOB = "987654"
QUESTIONS: dict[str, Callable[[], object]] = {
    "sbatch": lambda: submit.test_only(SCRIPT),
    "sinfo": ask_nodes,
    "sacct": lambda: job_usage(JOB),
    "squeue": lambda: submit.job_states(JOB),
    "scancel": lambda: submit.cancel(JOB),
}
# The configuration that programs find, and which of them have nothing to say then.
CONFIGURATIONS: dict[str, tuple[str | None, tuple[str, ...]]] = {
    "away": ("/srv/fx/away.conf", tuple(QUESTIONS)),
    "no_accounts": ("/srv/fx/no_accounts.conf", ("sacct",)),
    "no_cluster": (None, tuple(QUESTIONS)),
}


def silences() -> dict[str, Any]:
    """Return a case of every configuration and question."""
    cases = {}
    for name, (configuration, programs) in CONFIGURATIONS.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("SLURM_CONF")
            if configuration:
                patch.setenv("SLURM_CONF", configuration)
            for program in programs:
                about = {"script": SCRIPT} if program == "sbatch" else {"job": JOB}
                cases[f"{name}_{program}"] = recorded_case(QUESTIONS[program], **about)
    return cases


if __name__ == "__main__":
    write("silence", cases=silences())
