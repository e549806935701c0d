"""A job from a notebook: shown, checked, asked for, submitted, watched, cancelled; on a real Slurm."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.slurm.running import missing, running_cluster
from workshop_utils.cluster.site import find_site
from workshop_utils.widgets.slurm_job import SlurmJob

GOOD = "#!/bin/sh\n#SBATCH --partition=gpu\n#SBATCH --gres=gpu:a40:1\n#SBATCH --mem=100M\nsleep {}\n"


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if reason := missing():
        pytest.skip(reason)
    with running_cluster(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment["SLURM_CONF"]


@pytest.fixture
def here(slurm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLURM_CONF", slurm)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def test_nothing_is_submitted_before_the_second_click(here: Path) -> None:
    widget = SlurmJob(GOOD.format(1), every_s=0.2)
    widget.submit.click()
    assert "Submit the 5 lines above as they stand" in widget.said.value
    assert widget.buttons.children == (widget.yes, widget.no)
    assert widget.job is None
    widget.no.click()
    assert widget.said.value == "Nothing was submitted."
    assert widget.buttons.children == (widget.ask, widget.submit)


def test_an_edit_takes_the_question_back(here: Path) -> None:
    widget = SlurmJob(GOOD.format(1))
    widget.submit.click()
    widget.script.value += "echo more\n"
    assert widget.buttons.children == (widget.ask, widget.submit)
    assert widget.job is None


def test_a_job_is_submitted_watched_and_over(here: Path) -> None:
    widget = SlurmJob(GOOD.format(1), every_s=0.2)
    widget.ask.click()
    assert widget.said.value.startswith("Slurm accepts it: expected to start at 20")
    widget.submit.click()
    widget.yes.click()
    assert widget.job is not None and widget.job.isdigit()
    assert widget.script.disabled
    until(lambda: f"job {widget.job} completed" in widget.state.value)
    until(lambda: not widget.script.disabled)
    assert list(here.glob("slurm-*.out"))


def test_a_job_is_cancelled(here: Path) -> None:
    widget = SlurmJob(GOOD.format(600), every_s=0.2)
    widget.submit.click()
    widget.yes.click()
    until(lambda: "running" in widget.state.value)
    widget.cancel.click()
    until(lambda: "cancelled" in widget.state.value)
    until(lambda: widget.ask in widget.buttons.children)


def test_a_site_says_no_before_slurm_does(here: Path) -> None:
    script = GOOD.format(1).replace("a40:1", "a40:9")
    with_site, without = SlurmJob(script, find_site("uva")), SlurmJob(script)
    with_site.ask.click()
    assert "The site's rules say no" in with_site.said.value
    with_site.no.click()
    with_site.submit.click()  # what the site refuses is not even asked for
    assert "The site's rules say no" in with_site.said.value
    assert with_site.buttons.children == (with_site.ask, with_site.submit)
    without.ask.click()
    assert "Requested node configuration is not available" in without.said.value


def test_a_refusal_is_a_sentence_and_the_script_stays(here: Path) -> None:
    widget = SlurmJob(GOOD.format(1).replace("gpu:a40:1", "gpu:z9:1"))
    widget.submit.click()
    widget.yes.click()
    assert widget.said.value.startswith("✗ not submitted.")
    assert widget.buttons.children == (widget.ask, widget.submit)
    assert "z9" in widget.script.value


def test_without_slurm_it_says_where_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    widget = SlurmJob(GOOD.format(1))
    widget.ask.click()
    assert "there is no sbatch here" in widget.said.value
    assert "sleep 1" in widget._repr_mimebundle_()["text/plain"]
