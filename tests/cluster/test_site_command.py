"""``workshop site``: show, fields, check against a real Slurm, and the draft of a new file."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.slurm.running import missing, running_cluster
from workshop_utils.cli import main
from workshop_utils.cluster.nodes import Node, read_nodes
from workshop_utils.cluster.partitions import YEAR_HOURS, PartitionLimits, read_hours, read_partitions
from workshop_utils.cluster.site import find_site, read_site
from workshop_utils.cluster.site_compare import compare, marks
from workshop_utils.cluster.site_draft import draft
from workshop_utils.units import GB

SINFO = Path(__file__).with_name("sinfo")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    if reason := missing():
        pytest.skip(reason)
    with running_cluster(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


def workshop(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "workshop_utils", "site", *words], env=environment, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip


def test_show_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["site", "show", "uva"]) == 0
    text = capsys.readouterr().out
    assert "A100-80GB" in text and "a100_80gb" in text and "batch only" in text
    assert "interactive: at most 12 h, 2 nodes, 2 GPUs." in text
    assert "gpu-mig: at most 72 h, 1 node, 1 GPU." in text
    assert main(["site", "fields"]) == 0
    text = capsys.readouterr().out
    assert "gpus[].type (string, needed): Slurm's name, as in --gres=gpu:TYPE:1" in text
    assert "slurm.most_gpus (integer): GPUs of one job" in text


def test_a_draft_of_a_real_cluster_is_a_site_file_that_fits_it(
    cluster: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    done = workshop(cluster, "new", "--name", "mine", "--title", 'The "Centre"', "--out", str(path))
    assert done.returncode == 0, done.stderr
    site = read_site(path)
    assert site.title == 'The "Centre"'
    counts = {each.name: (each.type, each.nodes, each.per_node, each.constraint) for each in site.gpus}
    assert counts["A100-80GB"] == ("a100", 5, 8, "a100_80gb")
    assert counts["A100-40GB"] == ("a100", 1, 8, "a100_40gb")
    assert counts["H200"][:3] == ("h200", 1, 8)
    assert {each.name: each.most_hours for each in site.partitions} == {"gpu": 72, "interactive": 12}
    assert f"`workshop site check {path}`" in path.read_text()
    assert {each.name: each.link for each in site.gpus}["H200"] == "nvlink"
    done = workshop(cluster, "check", str(path))
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "Slurm has the same.")
    assert "CHECK marks are left, lines " in done.stdout
    path.write_text(path.read_text().replace("# CHECK", "#"))
    done = workshop(cluster, "check", str(path))
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "Slurm has the same.")
    assert "CHECK" not in done.stdout
    again = workshop(cluster, "new", "--out", str(path))
    assert again.returncode == 2
    assert "is there already" in again.stderr


def test_check_tells_where_file_and_cluster_differ(cluster: dict[str, str]) -> None:
    done = workshop(cluster, "check", "uva")
    assert done.returncode == 1
    assert "L40S: no node of partition gpu has gpu:l40s." in done.stdout
    assert "A100-80GB: the file says 18 nodes, Slurm has 5." in done.stdout
    assert done.stdout.splitlines()[-1] == "It differs from what Slurm says."


@pytest.mark.parametrize("release", ["20.11", "22.05", "24.11", "26.05"])
def test_a_draft_from_the_text_of_four_releases(release: str, tmp_path: Path) -> None:
    nodes = read_nodes((SINFO / f"slurm-{release}.txt").read_text()).nodes
    partitions = read_partitions(
        "PartitionName=gpu Default=NO MaxNodes=4 MaxTime=3-00:00:00 Nodes=a\n"
        "PartitionName=interactive Default=YES MaxNodes=UNLIMITED MaxTime=UNLIMITED\nnothing here\n"
    )
    path = tmp_path / "site.toml"
    path.write_text(draft("four", "Four", nodes, partitions), encoding="utf-8")
    site = read_site(path)
    assert site.default_partition
    assert {each.name for each in site.gpus} >= {"A100-80GB", "A100-40GB", "A40"}
    assert {each.name: each.most_hours for each in site.partitions} == {
        "gpu": 72, "interactive": YEAR_HOURS,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("3-00:00:00", 72), ("1-12", 36), ("1-12:30", 36.5), ("12:00:00", 12), ("90", 1.5), ("30:00", 0.5),
        ("UNLIMITED", YEAR_HOURS), ("some day", YEAR_HOURS),
    ],
)  # fmt: skip
def test_slurms_forms_of_time(text: str, hours: float) -> None:
    assert read_hours(text) == pytest.approx(hours)


def test_an_unknown_gpu_is_marked_and_the_check_says_so(tmp_path: Path) -> None:
    nodes = read_nodes((SINFO / "slurm-22.05.txt").read_text().replace("a40", "x99")).nodes
    partitions = read_partitions("PartitionName=gpu MaxTime=1-0\nPartitionName=interactive MaxTime=1-0\n")
    text = draft("new", "New", nodes, partitions)
    assert "# CHECK: Slurm calls it x99; which of these is it? B200" in text
    path = tmp_path / "new.toml"
    path.write_text(text, encoding="utf-8")
    assert main(["site", "check", str(path)]) == 2


def test_a_draft_reads_whatever_its_title_is(tmp_path: Path) -> None:
    nodes = read_nodes((SINFO / "slurm-22.05.txt").read_text()).nodes
    partitions = read_partitions("PartitionName=gpu MaxTime=1-0\nPartitionName=interactive MaxTime=1-0\n")
    title, path = 'Zentrum "für" \U0001f600\x7f $(x)\n[[gpus]]', tmp_path / "site.toml"
    path.write_text(draft("new", title, nodes, partitions), encoding="utf-8")
    assert read_site(path).title == title


def test_without_slurm_new_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert main(["site", "new"]) == 2
    assert "there is no sinfo here" in capsys.readouterr().err
    assert main(["site", "check", "example"]) == 0
    assert "There is no Slurm here" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({}, None),
        ({"cores": 9}, "A40: the file says 9 cores a node, Slurm has 64."),
        ({"cores": 640}, "A40: the file says 640 cores a node, Slurm has 64."),
        ({"memory_bytes": 420 * GB}, "A40: the file says 420 GB of memory a node, Slurm has 500."),
        ({"memory_bytes": 460 * GB}, None),
        ({"most_hours": 700}, "gpu: the file says 700 hours, Slurm has 72."),
        ({"most_nodes": 99}, "gpu: the file says 99 nodes of a job, Slurm has 4."),
        ({"most_nodes": 2}, None),
        ({"name": "gppu"}, "Slurm has no partition gppu."),
    ],
)
def test_compare_names_what_differs(changed: dict[str, Any], sentence: str | None) -> None:
    site = find_site("uva")
    part = replace(
        site.partitions[0], **{k: v for k, v in changed.items() if k in ("most_hours", "most_nodes")}
    )
    group = replace(
        site.nodes_of("A40"), nodes=1, partition=part, cores=changed.get("cores", 64),
        memory_bytes=changed.get("memory_bytes", 500 * GB),
    )  # fmt: skip
    node = Node("n1", ("gpu",), ("idle",), 64, 64, 500 * GB, 500 * GB, {"a40": 8}, {"a40": 0}, ("a40",), None)
    named = replace(part, name=changed.get("name", "gpu"))
    found = compare(
        replace(site, gpus=(group,), partitions=(named,)), [node], [PartitionLimits("gpu", 72, 4, False)]
    )
    assert found == ([] if sentence is None else [sentence])


def test_marks_that_are_left_are_counted() -> None:
    text = "# what is marked CHECK\n# CHECK: a\nx = 1\nlink = 'pcie'  # CHECK\n# CHECK: b\n"
    assert marks(text).startswith("3 CHECK marks are left, lines 2, 4 and 5: ")
    assert marks("# CHECK\n").startswith("1 CHECK mark is left, line 1: ")
    assert marks("# marked CHECK\n") == ""


@pytest.mark.parametrize(
    ("gpu", "link"), [("h200", "nvlink"), ("a100", "nvlink"), ("a40", "pcie"), ("x99", "pcie")]
)
def test_a_draft_guesses_the_link_by_the_type(gpu: str, link: str) -> None:
    node = Node("n1", ("gpu",), ("idle",), 64, 64, GB, GB, {gpu: 8}, {}, ("a100_80gb",), None)
    text = draft("x", "X", [node], [], "folder/my.toml")
    assert f'link = "{link}"' in text and "`workshop site check folder/my.toml`" in text
