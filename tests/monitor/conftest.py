"""Fabricated machines: a folder with the ``proc`` and ``sys`` that a cgroup layout shows to a process."""

from pathlib import Path

import pytest

UNLIMITED_V1 = "9223372036854771712"
LAYOUTS = {
    "v1": [
        "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct",
        "34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset",
        "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory",
    ],
    "v2": ["30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"],
}
LAYOUTS["hybrid"] = [*LAYOUTS["v1"], "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"]


class FabricatedMachine:
    """Writes files below ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def place(self, memberships: str, layout: str | list[str]) -> None:
        mounts = LAYOUTS[layout] if isinstance(layout, str) else layout
        self.write("proc/self/cgroup", memberships)
        self.write("proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" + "\n".join(mounts) + "\n")

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def slurm_v2(self) -> str:
        """Slurm on v2: memory and cores on the job's cgroup, nothing on the leaf."""
        job = "sys/fs/cgroup/system.slice/slurmstepd.scope/job_7"
        self.place("0::/system.slice/slurmstepd.scope/job_7/step_batch/user/task_0\n", "v2")
        self.write(f"{job}/step_batch/user/task_0/memory.max", "max\n")
        self.write(f"{job}/step_batch/user/task_0/memory.current", "1\n")
        self.write(f"{job}/step_batch/user/task_0/cpu.max", "max 100000\n")
        self.write(f"{job}/memory.max", f"{8 * 2**30}\n")
        self.write(f"{job}/memory.current", f"{3 * 2**30}\n")
        self.write(f"{job}/memory.stat", f"anon 1\ninactive_file {2**30}\n")
        self.write(f"{job}/cpuset.cpus.effective", "0-1,64-65\n")
        self.write(f"{job}/cpu.stat", "usage_usec 5000000\nuser_usec 1\n")
        return job

    def slurm_v1(self) -> str:
        """Slurm on v1: the cores in one tree, their use in another, memory in a third."""
        job = "slurm/uid_1000/job_7"
        leaf = f"{job}/step_0"
        self.place(
            f"5:memory:/{leaf}\n4:cpuset:/{leaf}\n3:cpu,cpuacct:/{leaf}\n1:name=systemd:/x\n0::/x\n", "hybrid"
        )
        self.write(f"sys/fs/cgroup/memory/{leaf}/memory.limit_in_bytes", UNLIMITED_V1)
        self.write("sys/fs/cgroup/memory/memory.limit_in_bytes", UNLIMITED_V1)
        self.write(f"sys/fs/cgroup/memory/{job}/memory.limit_in_bytes", f"{4 * 2**30}\n")
        self.write(f"sys/fs/cgroup/memory/{job}/memory.usage_in_bytes", f"{2 * 2**30}\n")
        self.write(
            f"sys/fs/cgroup/memory/{job}/memory.stat", f"inactive_file 7\ntotal_inactive_file {2**29}\n"
        )
        self.write("sys/fs/cgroup/cpuset/cpuset.cpus", "0-63\n")
        self.write(f"sys/fs/cgroup/cpuset/{job}/cpuset.cpus", "4-7\n")
        self.write(f"sys/fs/cgroup/cpuset/{leaf}/cpuset.cpus", "4-7\n")
        self.write(f"sys/fs/cgroup/cpu,cpuacct/{job}/cpuacct.usage", "3000000000\n")
        self.write(f"sys/fs/cgroup/cpu,cpuacct/{leaf}/cpu.cfs_quota_us", "-1\n")
        self.write(f"sys/fs/cgroup/cpu,cpuacct/{leaf}/cpu.cfs_period_us", "100000\n")
        return job


@pytest.fixture
def machine(tmp_path: Path) -> FabricatedMachine:
    return FabricatedMachine(tmp_path)
