"""What is said where four releases of Slurm have no answer (``tests/slurm/record_silence.py``)."""

import pytest

from tests.slurm.record_silence import CONFIGURATIONS, QUESTIONS
from tests.slurm.recording import RELEASES, read_cases, replay
from workshop_utils.errors import WorkshopError

AWAY = "Unable to contact slurm controller"
SAID = {
    "away_sbatch": "Slurm's controller does not answer from here: try again in a minute",
    "away_sinfo": AWAY,
    "away_sacct": "sacct failed: sacct: error: Problem talking to the database: Connection refused",
    "away_squeue": AWAY,
    "away_scancel": AWAY,
    "no_accounts_sacct": "Slurm accounting storage is disabled here, so what a job used is not known",
}


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_silence_is_explained(configuration: str, release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, programs = CONFIGURATIONS[configuration]
    for program in programs:
        name = f"{configuration}_{program}"
        replay(read_cases(release, "silence")[name], monkeypatch)
        with pytest.raises(WorkshopError) as told:
            QUESTIONS[program]()
        assert SAID.get(name, "Slurm's programs are here but no cluster is configured") in str(told.value), (
            name
        )
