"""Free GPUs in a notebook, over sinfo's recorded text, and without Slurm."""

import json
from pathlib import Path

import pytest

from workshop_utils.widgets.free_gpus import FreeGpus

RECORDED = Path(__file__).parents[2] / "notebooks" / "recorded" / "queue_of_a_test_cluster.json"


@pytest.fixture
def sinfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A sinfo that prints the recorded queue and counts how often it was asked."""
    text = tmp_path / "queue.txt"
    text.write_text("\n".join(json.loads(RECORDED.read_text())["lines"]))
    program = tmp_path / "sinfo"
    program.write_text(f"#!/bin/sh\necho asked >> {tmp_path}/asked\n/bin/cat {text}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def cell(widget: FreeGpus, gpu: str, column: str) -> str:
    table = widget.tables()[0]
    (row,) = [row for row in table.rows if row[0] == gpu]
    return row[list(table.headers).index(column)]


def test_types_and_reasons_stand_in_two_tables(sinfo: Path) -> None:
    widget = FreeGpus()
    assert (cell(widget, "a100", "free"), cell(widget, "a100", "usable")) == ("23", "13")
    assert "drained: bad fan, ticket 42" in widget.result.value
    assert cell(widget, "v100", "usable") == "0"


def test_changing_what_is_wanted_asks_slurm_no_second_time(sinfo: Path) -> None:
    widget = FreeGpus()
    widget.cores.value = 8
    assert cell(widget, "a100", "usable") == "12"
    widget.memory.value = 64
    assert (sinfo / "asked").read_text().count("asked") == 1
    widget.refresh.click()
    assert (sinfo / "asked").read_text().count("asked") == 2


def test_the_fallback_is_text_and_html(sinfo: Path) -> None:
    bundle = FreeGpus()._repr_mimebundle_()
    assert "a100" in bundle["text/plain"] and "<table>" in bundle["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_without_slurm_it_says_so_and_the_button_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    widget = FreeGpus()
    assert "there is no sinfo here" in widget.result.value
    assert not widget.refresh.disabled


def test_node_names_are_text_and_no_html(sinfo: Path) -> None:
    text = sinfo / "queue.txt"
    name = "udc-an34-2"
    text.write_text(text.read_text().replace(name.ljust(128), "<b>x</b>".ljust(128)))
    assert "&lt;b&gt;x&lt;/b&gt;" in FreeGpus().result.value


def test_when_a_job_could_start_is_asked_for_each_type(sinfo: Path) -> None:
    sbatch = sinfo / "sbatch"
    # Slurm says it on standard error.
    sbatch.write_text(
        "#!/bin/sh\n/bin/cat > /dev/null\n"
        "echo 'sbatch: Job 7 to start at 2026-12-01T08:30:00 using 4 processors on nodes n1 in p' >&2\n"
    )
    sbatch.chmod(0o755)
    widget = FreeGpus()
    assert "one could start" not in widget.result.value
    widget.when.click()
    assert cell(widget, "a100", "one could start") == "2026-12-01 08:30:00"
    assert (widget.when.description, widget.when.disabled) == ("When could one start?", False)
    widget.account.value = "no name"
    widget.when.click()
    assert "account 'no name' is no name of Slurm's" in cell(widget, "a100", "one could start")
    widget.refresh.click()  # what was said before is old
    assert "one could start" not in widget.result.value


def test_without_slurm_nobody_is_asked_when(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    widget = FreeGpus()
    widget.when.click()
    assert "there is no sinfo here" in widget.result.value
