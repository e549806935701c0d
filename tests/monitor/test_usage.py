"""Counters into cores in use, and memory without the cache that the kernel would drop."""

import pytest

from workshop_utils.monitor.cgroup import find_lineages
from workshop_utils.monitor.usage import BusyShare, cpu_seconds, memory_bytes

GIB = 2**30


def test_first_reading_has_no_rate():
    assert BusyShare().add(5.0, 100.0) is None


def test_rate_is_over_the_last_second_whatever_the_sampling_rate():
    share = BusyShare()
    for tenth in range(31):  # two cores busy for two seconds, then none
        time_seconds = tenth / 10
        cores = share.add(time_seconds, 2 * min(time_seconds, 2.0))
        if tenth == 20:
            assert cores == pytest.approx(2.0)
        if tenth == 25:
            assert cores == pytest.approx(1.0)
    assert cores == pytest.approx(0.0)


def test_slow_sampling_uses_the_interval_between_two_readings():
    share = BusyShare()
    share.add(0.0, 0.0)
    assert share.add(5.0, 10.0) == pytest.approx(2.0)
    assert share.add(10.0, 10.0) == pytest.approx(0.0)


def test_counter_that_falls_is_no_negative_use():
    share = BusyShare()
    share.add(0.0, 50.0)
    assert share.add(1.0, 1.0) == 0.0


def test_v2_job_usage_is_the_jobs_not_the_leafs(machine):
    job = machine.root / machine.slurm_v2()
    lineages = find_lineages(machine.root)
    assert cpu_seconds(lineages, job) == 5.0
    assert memory_bytes(lineages, job) == 2 * GIB  # 3 GiB held, 1 GiB of it inactive file cache


def test_v1_job_usage_is_read_from_the_accounting_tree(machine):
    job = machine.slurm_v1()
    lineages = find_lineages(machine.root)
    assert cpu_seconds(lineages, machine.root / "sys/fs/cgroup/cpuset" / job) == 3.0
    assert memory_bytes(lineages, machine.root / "sys/fs/cgroup/memory" / job) == 2 * GIB - 2**29


def test_v1_tree_that_does_not_account_says_nothing(machine):
    job = machine.slurm_v1()
    (machine.root / "sys/fs/cgroup/cpu,cpuacct" / job / "cpuacct.usage").unlink()
    assert cpu_seconds(find_lineages(machine.root), machine.root / "sys/fs/cgroup/cpuset" / job) is None


def test_without_cgroups_nothing_is_counted(tmp_path):
    assert cpu_seconds({}, tmp_path) is None
    assert memory_bytes({}, tmp_path) is None
