"""sinfo's text of four releases of Slurm (recorded with ``tests/slurm/record_sinfo.sh``), and odd lines."""

from pathlib import Path

import pytest

from workshop_utils.cluster.nodes import COLUMNS, read_gpus, read_nodes
from workshop_utils.units import GB

SINFO = Path(__file__).with_name("sinfo")
RELEASES = ("20.11", "22.05", "24.11", "26.05")


def line(**cells: str) -> str:
    """Return a line as sinfo prints it."""
    usual = {
        "NodeList": "n1", "Partition": "gpu", "StateLong": "idle", "CPUsState": "0/64/0/64",
        "Memory": "512000", "AllocMem": "0", "Gres": "gpu:a100:8", "GresUsed": "gpu:a100:0",
        "Features": "a100", "Reason": "none",
    }  # fmt: skip
    return "".join((usual | cells)[name].ljust(width) for name, width in COLUMNS.items())


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_reads_the_same(release: str) -> None:
    found = read_nodes((SINFO / f"slurm-{release}.txt").read_text())
    assert found.unread == ()
    nodes = {node.name: node for node in found.nodes}
    assert len(nodes) == 11
    full, drained, partly = (nodes[f"udc-an{name}"] for name in ("33-37", "34-2", "38-1"))
    assert (full.gpus, full.free("v100"), full.usable("v100")) == ({"v100": 4}, 3, 0)
    assert (drained.takes_jobs, drained.free("a100"), drained.usable("a100")) == (False, 8, 0)
    assert drained.reason == "bad fan, ticket 42"
    assert drained.features == ("a100", "a100_80gb", "gpupod")
    assert (partly.cores_free, partly.free("a40"), partly.usable("a40")) == (92, 5, 5)
    # 240 GiB of 250 are given away: what is left is enough for one GPU that needs 8 GB, not for six.
    short = nodes["udc-an25-16"]
    assert (short.free("a6000"), short.usable("a6000"), short.usable("a6000", 1, 8 * GB)) == (6, 6, 1)


def test_a_node_in_two_partitions_is_one_node() -> None:
    found = read_nodes(line(Partition="gpu*") + "\n" + line(Partition="interactive"))
    assert [node.partitions for node in found.nodes] == [("gpu", "interactive")]


@pytest.mark.parametrize(
    ("state", "takes_jobs"),
    [
        ("idle", True), ("mixed-", True), ("planned", True), ("allocated", True), ("idle~", True),
        ("idle*", True), ("draining", False), ("drained*", False), ("down", False), ("reserved", False),
        ("maint", False), ("mixed+drain", False), ("idle+cloud", False), ("a-new-word", False),
    ],
)  # fmt: skip
def test_only_states_that_are_known_to_take_jobs_do(state: str, takes_jobs: bool) -> None:
    (node,) = read_nodes(line(StateLong=state)).nodes
    assert node.takes_jobs is takes_jobs
    assert node.usable("a100") == (8 if takes_jobs else 0)


@pytest.mark.parametrize(
    ("gres", "expected"),
    [
        ("gpu:a100:8(S:0-1)", {"a100": 8}),
        ("gpu:a100:3(IDX:0-1,7)", {"a100": 3}),
        ("gpu:1g.10gb:14,gpu:a100:1", {"1g.10gb": 14, "a100": 1}),
        ("gpu:2", {"gpu": 2}),
        ("(null)", {}),
        ("nvme:4", {}),
    ],
)
def test_gpus_of_a_cell(gres: str, expected: dict[str, int]) -> None:
    assert read_gpus(gres) == expected


@pytest.mark.parametrize(
    "odd", [line(CPUsState="N/A"), line(Memory="lots"), line(NodeList=""), "slurm is upgraded at noon"]
)
def test_a_line_that_is_not_understood_is_kept_and_the_others_are_read(odd: str) -> None:
    found = read_nodes(f"{odd}\n{line()}\n\n")
    assert [node.name for node in found.nodes] == ["n1"]
    assert found.unread == (odd.strip(),)
