"""The smallest limit counts, wherever it sits, and says where it came from."""

import pytest

from workshop_utils.monitor.cgroup import find_lineages
from workshop_utils.monitor.limits import cpu_limit, memory_limit, parse_cpu_list

GIB = 2**30
MACHINE_BYTES = 64 * GIB
ALL_CPUS = frozenset(range(64))
IN_A_JOB = {"SLURMD_NODENAME": "node1"}


def cpu(machine, environment=None, affinity=ALL_CPUS):
    return cpu_limit(find_lineages(machine.root), environment or {}, affinity, machine_cores=64)


def memory(machine, environment=None):
    return memory_limit(find_lineages(machine.root), environment or {}, MACHINE_BYTES)


def test_slurm_v2_limits_sit_on_the_job_not_on_the_leaf(machine):
    job = machine.root / machine.slurm_v2()
    assert (memory(machine).amount, memory(machine).source, memory(machine).folder) == (
        8 * GIB,
        "cgroup v2",
        job,
    )
    assert (cpu(machine).amount, cpu(machine).source, cpu(machine).folder) == (4, "cgroup v2", job)


def test_slurm_v1_takes_the_job_of_equal_limits_because_all_steps_count_against_it(machine):
    job = machine.slurm_v1()
    assert memory(machine).amount == 4 * GIB
    assert cpu(machine).folder == machine.root / "sys/fs/cgroup/cpuset" / job
    assert cpu(machine).cpus == {4, 5, 6, 7}


def test_smallest_of_several_levels_wins(machine):
    machine.place("0::/a/b\n", "v2")
    machine.write("sys/fs/cgroup/a/b/memory.max", str(9 * GIB))
    machine.write("sys/fs/cgroup/a/memory.max", str(5 * GIB))
    machine.write("sys/fs/cgroup/a/b/cpu.max", "150000 100000\n")
    machine.write("sys/fs/cgroup/a/cpu.max", "400000 100000\n")
    assert memory(machine).amount == 5 * GIB
    assert cpu(machine).amount == 1.5
    assert cpu(machine).folder == machine.root / "sys/fs/cgroup/a/b"


def test_of_equal_quotas_the_one_nearest_the_root_counts(machine):
    machine.place("0::/a/b\n", "v2")
    for folder in ("a", "a/b"):
        machine.write(f"sys/fs/cgroup/{folder}/cpu.max", "200000 100000\n")
        machine.write(f"sys/fs/cgroup/{folder}/memory.max", str(GIB))
    assert cpu(machine).folder == memory(machine).folder == machine.root / "sys/fs/cgroup/a"


def test_container_with_its_own_namespace(machine):
    machine.place("0::/\n", "v2")
    machine.write("sys/fs/cgroup/memory.max", str(2 * GIB))
    machine.write("sys/fs/cgroup/cpu.max", "200000 100000\n")
    assert memory(machine).amount == 2 * GIB
    assert cpu(machine).amount == 2.0


def test_v1_quota_and_the_limit_of_an_ancestor_that_a_container_hides(machine):
    machine.place("5:memory:/\n3:cpu,cpuacct:/\n", "v1")
    machine.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712")
    machine.write("sys/fs/cgroup/memory/memory.stat", f"hierarchical_memory_limit {3 * GIB}\n")
    machine.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "250000")
    machine.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000")
    assert (memory(machine).amount, memory(machine).source) == (3 * GIB, "cgroup v1")
    assert (cpu(machine).amount, cpu(machine).source) == (2.5, "cgroup v1")


def test_unlimited_everywhere_is_no_limit(machine):
    machine.place("0::/a\n", "v2")
    machine.write("sys/fs/cgroup/a/memory.max", "max\n")
    machine.write("sys/fs/cgroup/a/cpu.max", "max 100000\n")
    machine.write("sys/fs/cgroup/a/cpuset.cpus.effective", "0-63\n")
    assert memory(machine) is None
    assert cpu(machine) is None


def test_limit_above_the_machine_is_none(machine):
    machine.place("0::/a\n", "v2")
    machine.write("sys/fs/cgroup/a/memory.max", str(MACHINE_BYTES))
    assert memory(machine) is None


def test_affinity_is_a_cpu_limit(machine):
    found = cpu(machine, affinity=frozenset({3, 5}))
    assert (found.amount, found.source, found.folder, found.cpus) == (2, "CPU affinity", None, {3, 5})


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"SLURM_MEM_PER_NODE": "4096"}, 4 * GIB),
        ({"SLURM_MEM_PER_CPU": "1024", "SLURM_CPUS_ON_NODE": "3"}, 3 * GIB),
        ({"SLURM_MEM_PER_NODE": "0"}, None),
        ({"SLURM_MEM_PER_NODE": "4G?"}, None),
    ],
)
def test_slurm_memory_request_counts_where_nothing_enforces_it(machine, request_, expected):
    found = memory(machine, IN_A_JOB | request_)
    assert (found and found.amount) == expected
    assert found is None or found.source == "Slurm"


def test_slurm_request_never_hides_an_enforced_limit(machine):
    machine.slurm_v2()
    environment = IN_A_JOB | {"SLURM_MEM_PER_NODE": "1024", "SLURM_CPUS_PER_TASK": "1"}
    assert memory(machine, environment).source == "cgroup v2"
    assert cpu(machine, environment).amount == 4


def test_slurm_cores_on_the_node_before_those_of_a_task(machine):
    assert cpu(machine, IN_A_JOB | {"SLURM_CPUS_ON_NODE": "8", "SLURM_CPUS_PER_TASK": "2"}).amount == 8
    assert cpu(machine, IN_A_JOB | {"SLURM_CPUS_PER_TASK": "2"}).amount == 2


def test_shell_of_salloc_on_the_login_node_is_not_limited(machine):
    environment = {"SLURM_MEM_PER_NODE": "4096", "SLURM_CPUS_ON_NODE": "8"}
    assert memory(machine, environment) is None
    assert cpu(machine, environment) is None


def test_cpu_list():
    assert parse_cpu_list("0-2,8\n") == {0, 1, 2, 8}
    assert parse_cpu_list("\n") == frozenset()
    with pytest.raises(ValueError, match="invalid literal"):
        parse_cpu_list("a-b")
