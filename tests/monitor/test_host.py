"""The job's share of the machine, over fabricated trees and fed counters."""

import sys
from collections import namedtuple
from types import SimpleNamespace

import psutil
import pytest

from workshop_utils.monitor import host as host_module
from workshop_utils.monitor.host import Host

GIB = 2**30
Times = namedtuple("Times", "user nice system idle iowait guest guest_nice")


class FedMachine:
    """64 cores and 512 GiB, whose clock and counters a test turns."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        self.busy = dict.fromkeys(range(64), 0.0)
        memory = SimpleNamespace(total=512 * GIB, available=500 * GIB)
        monkeypatch.setattr(host_module, "time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
        monkeypatch.setattr(psutil, "cpu_count", lambda: 64)
        monkeypatch.setattr(psutil, "cpu_times", self.cpu_times)

    def cpu_times(self, percpu=False):
        # All work is a guest's, which Linux counts in "user" as well; waiting for a disk is no work.
        each = [Times(busy, 0, 0, self.now, self.now, busy, 0) for busy in self.busy.values()]
        return each if percpu else Times(*(sum(column) for column in zip(*each, strict=True)))

    def work(self, seconds, cores):
        self.now += seconds
        for cpu in cores:
            self.busy[cpu] += seconds


@pytest.fixture
def fed(monkeypatch):
    return FedMachine(monkeypatch)


def make_host(machine, environment=None, affinity=range(64)):
    return Host(machine.root, environment or {}, lambda: frozenset(affinity))


def test_without_limits_job_and_machine_are_the_same(machine, fed):
    host = make_host(machine)
    assert host.read().data.cpu_percent is None  # one reading is no rate
    fed.work(1.0, cores=range(16))
    data = host.read().data
    assert data.cpu_percent == data.machine_cpu_percent == 25.0
    assert data.cpu_limit_cores == data.machine_cpu_cores == 64
    assert data.memory_used_bytes == data.machine_memory_used_bytes == 12 * GIB
    assert data.memory_limit_bytes == data.machine_memory_total_bytes == 512 * GIB
    assert data.cpu_limit_source == data.memory_limit_source == "machine"
    assert data.not_reported == {}


def test_slurm_job_is_measured_by_its_cgroup_against_its_limit(machine, fed):
    job = machine.slurm_v2()
    host = make_host(machine)
    host.read()
    fed.work(2.0, cores=range(64))  # others keep the machine busy
    machine.write(f"{job}/cpu.stat", f"usage_usec {5_000_000 + 2_000_000}\n")  # the job used 1 of its 4 cores
    data = host.read().data
    assert (data.cpu_percent, data.cpu_limit_cores, data.cpu_limit_source) == (25.0, 4, "cgroup v2")
    assert data.machine_cpu_percent == 100.0
    assert (data.memory_used_bytes, data.memory_limit_bytes) == (2 * GIB, 8 * GIB)


def test_cores_without_accounting_are_measured_by_their_own_counters(machine, fed):
    host = make_host(machine, affinity={3, 5})
    host.read()
    fed.work(1.0, cores=[3, 10, 11])
    data = host.read().data
    assert (data.cpu_percent, data.cpu_limit_cores, data.cpu_limit_source) == (50.0, 2, "CPU affinity")


def test_request_that_nothing_accounts_for_is_not_reported_rather_than_wrong(machine, fed):
    environment = {"SLURMD_NODENAME": "n", "SLURM_CPUS_ON_NODE": "4", "SLURM_MEM_PER_NODE": "1024"}
    host = make_host(machine, environment)
    host.read()
    fed.work(1.0, cores=range(64))
    data = host.read().data
    assert data.cpu_percent is None
    assert data.memory_used_bytes is None
    assert set(data.not_reported) == {"cpu_percent", "memory_used_bytes"}
    assert (data.cpu_limit_cores, data.memory_limit_bytes) == (4, GIB)


def test_request_is_measured_by_the_cgroup_of_the_process_where_there_is_one(machine, fed):
    machine.place("0::/step\n", "v2")
    machine.write("sys/fs/cgroup/step/memory.current", f"{GIB // 2}\n")
    machine.write("sys/fs/cgroup/step/cpu.stat", "usage_usec 0\n")
    host = make_host(
        machine, {"SLURMD_NODENAME": "n", "SLURM_CPUS_ON_NODE": "4", "SLURM_MEM_PER_NODE": "1024"}
    )
    host.read()
    fed.work(1.0, cores=range(64))
    machine.write("sys/fs/cgroup/step/cpu.stat", "usage_usec 2000000\n")
    data = host.read().data
    assert (data.cpu_percent, data.memory_used_bytes, data.not_reported) == (50.0, GIB // 2, {})


def test_limit_that_changes_is_seen_and_does_not_mix_two_counters(machine, fed):
    machine.place("0::/a/b\n", "v2")
    machine.write("sys/fs/cgroup/a/b/cpu.max", "400000 100000\n")
    machine.write("sys/fs/cgroup/a/b/cpu.stat", "usage_usec 0\n")
    machine.write("sys/fs/cgroup/a/cpu.stat", "usage_usec 900000000\n")
    host = make_host(machine)
    host.read()
    machine.write("sys/fs/cgroup/a/cpu.max", "200000 100000\n")
    fed.work(host_module.LIMITS_SECONDS, cores=[])
    data = host.read().data
    assert (data.cpu_limit_cores, data.cpu_percent) == (2.0, None)


def test_pause_is_forgotten(machine, fed):
    host = make_host(machine)
    host.read()
    fed.work(600.0, cores=range(64))
    host.close()
    assert host.read().data.machine_cpu_percent is None
    fed.work(0.1, cores=[])
    assert host.read().data.machine_cpu_percent == 0.0


def test_missing_psutil_is_a_reason(machine, monkeypatch):
    monkeypatch.setitem(sys.modules, "psutil", None)
    reading = make_host(machine).read()
    assert (reading.status, reading.data) == ("unavailable", None)
    assert "psutil" in reading.error


def test_this_machine_answers():
    data = Host().read().data
    assert 0 < data.memory_used_bytes <= data.memory_limit_bytes <= data.machine_memory_total_bytes
    assert 0 < data.cpu_limit_cores <= data.machine_cpu_cores


def test_disk_and_network_are_rates_without_the_loopback(machine, fed, monkeypatch):
    counts = SimpleNamespace(read=0, sent=0)
    monkeypatch.setattr(
        psutil, "disk_io_counters", lambda: SimpleNamespace(read_bytes=counts.read, write_bytes=5)
    )
    links = {
        "eth0": lambda: SimpleNamespace(bytes_recv=7, bytes_sent=counts.sent),
        "lo": lambda: SimpleNamespace(bytes_recv=10**9 * counts.sent, bytes_sent=10**9 * counts.sent),
    }
    monkeypatch.setattr(psutil, "net_io_counters", lambda pernic: {n: link() for n, link in links.items()})
    host = make_host(machine)
    assert host.read().data.disk_read_bytes_per_s is None
    counts.read, counts.sent = 800, 1600
    fed.work(4.0, cores=[])
    data = host.read().data
    assert (data.disk_read_bytes_per_s, data.disk_write_bytes_per_s) == (200, 0)
    assert (data.network_send_bytes_per_s, data.network_receive_bytes_per_s) == (400, 0)
    counts.read = 9999
    fed.work(0.1, cores=[])
    assert host.read().data.disk_read_bytes_per_s == 200  # asked every three seconds


def test_a_container_without_disks_reports_none(machine, fed, monkeypatch):
    monkeypatch.setattr(psutil, "disk_io_counters", lambda: None)
    host = make_host(machine)
    host.read()
    fed.work(1.0, cores=[])
    assert host.read().data.disk_read_bytes_per_s is None


@pytest.mark.parametrize(
    ("function", "kind", "error"),
    [
        ("net_io_counters", "network", PermissionError(13, "Permission denied", "/proc/net/dev")),
        ("disk_io_counters", "disk", NotImplementedError("no /proc/diskstats")),
    ],
)
def test_counters_that_are_hidden_hide_nothing_else(machine, fed, monkeypatch, function, kind, error):
    disks, links = SimpleNamespace(read_bytes=1, write_bytes=1), {}
    monkeypatch.setattr(psutil, "disk_io_counters", lambda: disks)
    monkeypatch.setattr(psutil, "net_io_counters", lambda pernic: links)
    shown = getattr(psutil, function)

    def hidden(**_options):
        raise error

    monkeypatch.setattr(psutil, function, hidden)
    host = make_host(machine)
    host.read()
    for _ in range(2):  # asked anew, and in between
        fed.work(2.0, cores=range(16))
        data = host.read().data
    rates = {name: value for name, value in vars(data).items() if name.endswith("_bytes_per_s")}
    lost = {name for name in rates if name.startswith(kind)}
    assert {name for name, rate in rates.items() if rate is None} == set(data.not_reported) == lost
    assert len(lost) == 2
    for reason in data.not_reported.values():
        assert type(error).__name__ in reason
        assert str(error) in reason
    assert (data.cpu_percent, data.memory_used_bytes) == (25.0, 12 * GIB)
    monkeypatch.setattr(psutil, function, shown)
    for _ in range(2):  # two readings make a rate
        fed.work(4.0, cores=[])
        data = host.read().data
    assert data.not_reported == {}
    assert None not in [getattr(data, name) for name in lost]


@pytest.mark.parametrize(
    ("environment", "end"),
    [({}, None), ({"SLURM_JOB_END_TIME": "1795840935"}, 1795840935), ({"SLURM_JOB_END_TIME": "x"}, None)],
)
def test_the_end_of_a_job_is_slurms(machine, fed, environment, end):
    assert make_host(machine, environment).read().data.job_ends_at == end
