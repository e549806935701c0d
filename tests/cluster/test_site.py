"""Site files: those that ship, and every way in which a new one can be wrong."""

import copy
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest

from workshop_utils.cluster.nodes import Node
from workshop_utils.cluster.offers import offers
from workshop_utils.cluster.site import FOLDER, find_site, read_site, site_names
from workshop_utils.errors import WorkshopError
from workshop_utils.units import GB, GIB

UVA = tomllib.loads((FOLDER / "uva.toml").read_text(encoding="utf-8"))


def written(fields: dict[str, Any], path: Path) -> Path:
    """Write fields as TOML; only what a site file has: tables, lists of tables, strings, numbers, truths."""
    lines: list[str] = []

    def value(given: Any) -> str:
        if isinstance(given, bool):
            return str(given).lower()
        if isinstance(given, list):
            return "[" + ", ".join(value(each) for each in given) + "]"
        if isinstance(given, dict):
            return "{" + ", ".join(f"{key} = {value(each)}" for key, each in given.items()) + "}"
        return repr(given) if not isinstance(given, str) else '"' + given.replace('"', '\\"') + '"'

    for key, given in fields.items():
        lines.append(f"{key} = {value(given)}")
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def changed(path: Path, change: Any) -> Path:
    fields = copy.deepcopy(UVA)
    change(fields)
    return written(fields, path)


def test_uva_has_what_its_slides_and_pages_say() -> None:
    site = find_site("uva")
    counts = {each.name: (each.nodes, each.per_node) for each in site.gpus}
    assert counts == {
        "H200": (1, 8), "A100-80GB": (18, 8), "A100-40GB": (2, 8), "A6000": (14, 8), "A40": (12, 8),
        "L40S": (4, 8), "V100": (2, 4), "RTX 3090": (4, 4), "RTX 2080 Ti": (2, 10), "MIG 1g.10gb": (1, 1),
    }  # fmt: skip
    assert (site.most_gpus, site.most_nodes, site.default_partition) == (32, 4, False)
    assert {each.name: each.most_hours for each in site.partitions} == {
        "gpu": 72, "interactive": 12, "gpu-mig": 72,
    }  # fmt: skip
    pod = site.nodes_of("a100-80gb")
    assert (pod.constraint, pod.fast_constraint, pod.whole_nodes) == ("a100_80gb", "gpupod", True)
    assert (pod.link, pod.memory_bytes) == ("nvlink", 2000 * GB)
    assert site.nodes_of("H200").open_ondemand is None  # by batch only
    assert site.nodes_of("MIG 1g.10gb").gpu.usable_bytes < 10 * GIB
    assert site.form["partition"] == "Rivanna/Afton Partition"
    assert site.links and site.sources


def test_offers_keep_to_the_limits_of_partition_and_site() -> None:
    found = {each.name: each for each in offers(find_site("uva"))}
    assert (found["A100-80GB"].most_gpus, found["A100-80GB"].most_nodes) == (32, 4)
    assert (found["RTX 3090"].most_gpus, found["RTX 3090"].most_nodes) == (2, 2)
    assert found["H200"].most_nodes == 1
    assert found["A40"].free is None


def test_offers_count_what_is_free_with_the_right_feature() -> None:
    def node(name: str, feature: str, used: int) -> Node:
        return Node(
            name, ("gpu",), ("mixed",), 128, 100, 2000 * GB, 1500 * GB, {"a100": 8}, {"a100": used},
            ("a100", feature), None,
        )  # fmt: skip

    nodes = [node("n1", "a100_80gb", 3), node("n2", "a100_80gb", 6), node("n3", "a100_40gb", 0)]
    found = {each.name: each for each in offers(find_site("uva"), nodes)}
    assert found["A100-80GB"].free_by_node == (5, 2)
    assert (found["A100-80GB"].free, found["A100-40GB"].free) == (7, 8)
    assert (found["A40"].free, found["A40"].absent) == (0, True)
    assert not found["A100-40GB"].absent


def test_sites_are_found_by_name_path_and_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert site_names() == ("example", "uva")
    own = written(UVA | {"name": "own"}, tmp_path / "site.toml")
    assert find_site(str(own)).name == "own"
    monkeypatch.setenv("WORKSHOP_SITE", "example")
    assert find_site().name == "example"
    monkeypatch.delenv("WORKSHOP_SITE")
    with pytest.raises(WorkshopError, match=r"no site is named; give --site.*example, uva"):
        find_site()
    with pytest.raises(WorkshopError, match=r"site 'uav' is neither one that ships \(example, uva\)"):
        find_site("uav")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: f["gpus"][0].update(nodes="one"), "GPU H200: nodes must be integer, not 'one'"),
        (lambda f: f["gpus"][0].update(nodes=0), "GPU H200: nodes must be bigger than or equal to 1, not 0"),
        (
            lambda f: f["slurm"].update(most_gpus=0),
            "slurm.most_gpus must be bigger than or equal to 1, not 0",
        ),
        (
            lambda f: f["partitions"][0].update(most_hours=0),
            "partition gpu: most_hours must be bigger than 0",
        ),
        (
            lambda f: f["gpus"][1].update(usable_gib=0),
            "GPU A100-80GB: usable_gib must be bigger than 0, not 0",
        ),
        (lambda f: f["gpus"][0].pop("gpu"), "GPU H200: lacks gpu "),
        (lambda f: f["gpus"][4].pop("name"), r"gpus\[4\] lacks name "),
        (
            lambda f: f["partitions"][0].update(most_hour=f["partitions"][0].pop("most_hours")),
            r"gpu: has most_hour, which is no field; did you mean most_hours\? \(`workshop site fields`",
        ),
        (lambda f: f["gpus"][0].update(gpu="H900"), "GPU H200: no GPU type is called 'H900'"),
        (lambda f: f["gpus"][0].update(partition="gppu"), "in partition 'gppu', which the file does not"),
        (lambda f: f["gpus"][0].update(name="A40"), "two GPUs are called A40"),
        (lambda f: f["gpus"][0].update(name="a40"), "two GPUs are called a40"),
        (
            lambda f: f["partitions"][1].update(name="gpu"),
            "two partitions are called gpu",
        ),
        (lambda f: f["partitions"][2].update(name="a b"), "partition 'a b' is no name that Slurm has"),
        (
            lambda f: f["partitions"][0].update(most_hours=math.inf),
            "gpu: most_hours must be at most 1,000,000",
        ),
        (lambda f: f["gpus"][1].update(usable_gib=math.nan), "A100-80GB: usable_gib must be .*, not nan"),
        (lambda f: f["gpus"][0].update(memory_gb=math.inf), "GPU H200: memory_gb must be .*, not inf"),
        (lambda f: f["gpus"][0].update(per_node=10**9), "GPU H200: per_node must be at most 1,000, not 10"),
        (lambda f: f.update(gpus=[]), "gpus must contain at least 1 items"),
        (lambda f: f.update(colour="blue"), "toml: has colour, which is no field; there are schema, name"),
        (lambda f: f["gpus"][0].update(type="a100;rm"), "GPU H200: type must match pattern"),
        (lambda f: f["links"][0].update(url="javascript:alert(1)"), r"links\[0\].url must match pattern"),
    ],
)
def test_a_wrong_file_is_told_with_its_place(change: Any, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(WorkshopError, match=sentence):
        read_site(changed(tmp_path / "site.toml", change))


def test_no_toml_too_long_and_no_text(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text("name = [")
    with pytest.raises(WorkshopError, match=r"site.toml is no TOML"):
        read_site(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WorkshopError, match=r"site.toml is no TOML"):
        read_site(path)
    path.write_bytes(b"#" * 2_000_000)
    with pytest.raises(WorkshopError, match="2,000,000 bytes"):
        read_site(path)
    path.write_text(f"name = {'[' * 5000}{']' * 5000}")
    with pytest.raises(WorkshopError, match="nested far deeper"):
        read_site(path)


def test_a_file_of_windows_reads_the_same(tmp_path: Path) -> None:
    text = (FOLDER / "uva.toml").read_text(encoding="utf-8")
    path = tmp_path / "site.toml"
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert read_site(path).gpus == find_site("uva").gpus


def test_a_slice_is_estimated_on_the_whole_gpu() -> None:
    (slice_of,) = (each.slice_of for each in offers(find_site("uva")) if each.name == "MIG 1g.10gb")
    assert slice_of == "A100-80GB"
    assert {each.slice_of for each in offers(find_site("example"))} == {None}
