"""Where this process sits in the cgroup trees, v1, v2 or both: folders only, read from ``/proc``.

Formats: cgroups(7) for ``/proc/self/cgroup``, proc_pid_mountinfo(5) for ``/proc/self/mountinfo``.
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

V1 = "cgroup v1"
V2 = "cgroup v2"
CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory")


@dataclass(frozen=True)
class Lineage:
    """The folders of one controller from this process's own cgroup up to the root that it can see."""

    version: str
    folders: tuple[Path, ...]


@dataclass(frozen=True)
class _Mount:
    point: PurePosixPath
    root: PurePosixPath
    kind: str
    options: frozenset[str]


def find_lineages(root: Path = Path("/")) -> dict[str, Lineage]:
    """Return the lineage of each of ``CONTROLLERS`` that governs this process; ``{}`` where there are none.

    ``root`` is the folder that holds ``proc`` and ``sys``: another one than ``/`` serves the tests. In a
    hybrid tree a controller that v1 has mounted is v1's; all others are v2's.
    """
    try:
        memberships = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        mounts = _mounts((root / "proc/self/mountinfo").read_text(encoding="utf-8"))
    except OSError:
        return {}
    found: dict[str, Lineage] = {}
    for line in sorted(memberships, key=lambda line: line.startswith("0:")):  # v2 is number 0
        _, names, path = line.split(":", 2)
        if names:
            wanted, version, kind = set(names.split(",")) & set(CONTROLLERS), V1, "cgroup"
        else:
            wanted, version, kind = set(CONTROLLERS) - found.keys(), V2, "cgroup2"
        for controller in wanted:
            for mount in mounts:
                if mount.kind == kind and (version == V2 or controller in mount.options):
                    found[controller] = Lineage(version, _folders(root, mount, PurePosixPath(path)))
                    break
    return found


def read_number(file: Path) -> int | None:
    """Return the one number of a file; None where the file is missing, unreadable or says ``max``."""
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def read_table(file: Path) -> dict[str, int]:
    """Return the ``name number`` lines of a file such as ``memory.stat``; empty where it is missing."""
    try:
        lines = file.read_text(encoding="ascii").splitlines()
        return {name: int(number) for name, number in (line.split() for line in lines)}
    except (OSError, ValueError):
        return {}


def _mounts(mountinfo: str) -> list[_Mount]:
    mounts = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        if kind in {"cgroup", "cgroup2"}:
            fields = before.split()
            point, mounted = PurePosixPath(fields[4]), PurePosixPath(fields[3])
            mounts.append(_Mount(point, mounted, kind, frozenset(options.split(","))))
    return mounts


def _folders(root: Path, mount: _Mount, path: PurePosixPath) -> tuple[Path, ...]:
    """Leaf to root. In a container the path may lie outside what is mounted: then the mount is all we see."""
    top = root.joinpath(*mount.point.parts[1:])
    below = path.relative_to(mount.root).parts if path.is_relative_to(mount.root) else ()
    if ".." in below or not top.joinpath(*below).is_dir():
        below = ()
    return tuple(top.joinpath(*below[:depth]) for depth in range(len(below), -1, -1))
