"""Where a process sits in v1, v2, hybrid and container trees."""

import pytest

from workshop_utils.monitor.cgroup import find_lineages, read_number, read_table


def folders(machine, controller):
    lineage = find_lineages(machine.root)[controller]
    top = machine.root / "sys/fs/cgroup"
    return lineage.version, [folder.relative_to(top).as_posix() for folder in lineage.folders]


def test_v2_runs_from_leaf_to_root(machine):
    machine.write("sys/fs/cgroup/user.slice/session/cpu.stat", "usage_usec 1\n")
    machine.place("0::/user.slice/session\n", "v2")
    for controller in ("cpu", "cpuacct", "cpuset", "memory"):
        assert folders(machine, controller) == ("cgroup v2", ["user.slice/session", "user.slice", "."])


def test_v1_keeps_a_lineage_for_each_controller(machine):
    machine.slurm_v1()
    assert folders(machine, "memory")[0] == "cgroup v1"
    assert folders(machine, "memory")[1][:2] == [
        "memory/slurm/uid_1000/job_7/step_0",
        "memory/slurm/uid_1000/job_7",
    ]
    assert folders(machine, "cpuset")[1][-1] == "cpuset"
    assert folders(machine, "cpu") == folders(machine, "cpuacct")


def test_hybrid_takes_from_v2_only_what_v1_has_not(machine):
    machine.write("sys/fs/cgroup/memory/a/memory.stat", "")
    machine.write("sys/fs/cgroup/unified/b/cpu.stat", "")
    machine.place("1:memory:/a\n0::/b\n", "hybrid")
    assert folders(machine, "memory") == ("cgroup v1", ["memory/a", "memory"])
    assert folders(machine, "cpu") == ("cgroup v2", ["unified/b", "unified"])


def test_container_with_its_own_namespace_sees_the_mount_as_root(machine):
    machine.write("sys/fs/cgroup/memory.max", "1\n")
    machine.place("0::/\n", "v2")
    assert folders(machine, "memory") == ("cgroup v2", ["."])


def test_container_without_a_namespace_has_its_cgroup_mounted_as_root(machine):
    machine.write("sys/fs/cgroup/memory/memory.stat", "")
    mount = "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory"
    machine.place("5:memory:/docker/abc\n", [mount])
    assert folders(machine, "memory") == ("cgroup v1", ["memory"])


@pytest.mark.parametrize("path", ["/..", "/../../other", "/not/mounted/here"])
def test_path_outside_the_namespace_falls_back_to_the_mount(machine, path):
    machine.write("sys/fs/cgroup/memory.max", "1\n")
    machine.place(f"0::{path}\n", "v2")
    assert folders(machine, "memory") == ("cgroup v2", ["."])


def test_no_proc_is_no_cgroup(tmp_path):
    assert find_lineages(tmp_path) == {}


def test_malformed_files_read_as_nothing(tmp_path):
    (tmp_path / "max").write_text("max\n", encoding="ascii")
    (tmp_path / "table").write_text("anon 1 2\n", encoding="ascii")
    assert read_number(tmp_path / "max") is None
    assert read_number(tmp_path / "none") is None
    assert read_table(tmp_path / "table") == {}
    assert read_table(tmp_path / "none") == {}
