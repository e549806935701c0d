import os
import stat
import sys
from pathlib import Path

import pytest

from workshop_utils import storage
from workshop_utils.errors import WorkshopError
from workshop_utils.storage import (
    Mount,
    cache_folder,
    existing_parent,
    find_mount,
    free_space,
    left_of_mmlsquota,
    left_of_quota,
)

KIB = 1024
NFS = Mount("filer01:/export/home", "/home", "nfs4")
LUSTRE = Mount("10.0.0.1@o2ib:/scratch", "/lustre/scratch", "lustre")
GPFS = Mount("/dev/gpfs01", "/gpfs", "gpfs")

QUOTA = """Disk quotas for user alice (uid 1000):
     Filesystem  blocks   quota   limit   grace   files   quota   limit   grace
      /dev/sda3    9000   10000   11000             100       0       0
filer01:/export/home  41943040  52428800  53477376             80000  400000  500000
"""
LFS = """Disk quotas for usr alice (uid 1000):
     Filesystem  kbytes   quota   limit   grace   files   quota   limit   grace
/lustre/scratch
                5242880*  4194304 6291456  6d23h   120000  0  1000000       -
uid 1000 is using default file quota setting
"""
MMLSQUOTA = (
    "mmlsquota::HEADER:version:reserved:reserved:filesystemName:quotaType:id:name:blockUsage:blockQuota:"
    "blockLimit:blockInDoubt:blockGrace:filesUsage:filesQuota:filesLimit:filesInDoubt:filesGrace:remarks:"
    "quota:defQuota:fid:filesetname:\n"
    "mmlsquota::0:1:::gpfs01:USR:1000:alice:2097152:10485760:12582912:0:none:4000:0:500000:0:none:e:on:off:::\n"
    "mmlsquota::0:1:::gpfs01:GRP:500:lab:9999999:10000000:10000000:0:none:1:0:0:0:none:e:on:off:::\n"
)


def test_the_readers_choice_comes_first(own_home, monkeypatch) -> None:
    monkeypatch.setenv("SCRATCH", str(own_home))
    monkeypatch.setenv("WORKSHOP_CACHE", "~/mine")
    assert cache_folder() == own_home / "mine"


def test_scratch_comes_next_and_only_if_it_can_be_written(own_home, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    assert cache_folder() == tmp_path / "multigpu-llm-workshop"
    monkeypatch.setenv("SCRATCH", "/proc")
    monkeypatch.setattr(os, "access", lambda path, _: path != "/proc")
    assert cache_folder() == own_home / ".cache" / "multigpu-llm-workshop"
    monkeypatch.setenv("SCRATCH", str(tmp_path / "gone"))
    assert storage.scratch_folder() is None


def test_the_xdg_cache_is_the_last(own_home, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "multigpu-llm-workshop"


@pytest.mark.parametrize(
    ("text", "mount", "left"),
    [
        (QUOTA, NFS, (52428800 - 41943040) * KIB),
        (QUOTA, Mount("/dev/sda3", "/", "ext4"), 1000 * KIB),
        (QUOTA, Mount("/dev/sdb1", "/data", "xfs"), None),
        ("Disk quotas for user alice (uid 1000): none\n", NFS, None),
        (LFS, LUSTRE, 0),
        (LFS.replace("5242880*  4194304", "[1048576]  0"), LUSTRE, (6291456 - 1048576) * KIB),
        (LFS.replace("4194304 6291456", "0 0"), LUSTRE, None),
        ("lfs quota: '/lustre/scratch' not on a mounted Lustre filesystem\n", LUSTRE, None),
        ("Home: 40% of 50 GB used at /home today by alice\n", NFS, None),
    ],
)
def test_quota_and_lfs_quota_are_read(text, mount, left) -> None:
    assert left_of_quota(text, mount) == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (MMLSQUOTA, (10485760 - 2097152) * KIB),
        (MMLSQUOTA.replace(":10485760:12582912:", ":0:0:"), None),
        ("mmlsquota: Device gpfs01 is unknown\n", None),
        ("", None),
    ],
)
def test_only_the_users_own_row_of_mmlsquota_counts(text, left) -> None:
    assert left_of_mmlsquota(text, GPFS) == left


def test_the_deepest_and_latest_mount_holds_a_folder(tmp_path) -> None:
    table = tmp_path / "mounts"
    table.write_text(
        "/dev/sda1 / ext4 rw 0 0\nauto /srv\\040x autofs rw 0 0\n"
        "filer:/a /srv\\040x nfs4 rw 0 0\nx /srv tmpfs rw 0 0\n"
    )
    assert find_mount(Path("/srv x/data"), table) == Mount("filer:/a", "/srv x", "nfs4")
    assert find_mount(Path("/opt"), table) == Mount("/dev/sda1", "/", "ext4")
    assert find_mount(Path("/opt"), tmp_path / "none") is None


@pytest.fixture
def quota_program(tmp_path, monkeypatch):
    """Return a function that puts a program called ``quota`` first in the PATH."""

    def write(body: str) -> None:
        program = tmp_path / "bin" / "quota"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!{sys.executable}\n{body}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)

    return write


@pytest.mark.skipif(not Path("/proc/self/mounts").exists(), reason="no mount table: not Linux")
def test_the_quota_binds_where_it_is_smaller_than_the_disk(tmp_path, quota_program) -> None:
    mount = find_mount(tmp_path)
    assert mount is not None
    # Over the soft limit quota(1) says so with its exit code as well.
    quota_program(f"import sys; print('{mount.source} 900* 0 1000 6days 1 0 0'); sys.exit(1)")
    assert free_space(tmp_path / "not" / "yet") == storage.FreeSpace(100 * KIB, "quota")
    with pytest.raises(WorkshopError, match=r"needs 0.2 GB but 0.1 MB are left of your quota \(says quota\)"):
        storage.require_space(tmp_path, 200_000_000)
    storage.require_space(tmp_path, 100 * KIB)


def test_a_quota_command_that_hangs_is_no_limit(tmp_path, quota_program, monkeypatch) -> None:
    monkeypatch.setattr(storage, "QUOTA_TIMEOUT_SECONDS", 0.2)
    quota_program("import time; time.sleep(60)")
    assert free_space(tmp_path).bound_by == "disk"
    assert storage.free_bytes(tmp_path) > 0


def test_too_full_a_disk_is_one_sentence(tmp_path) -> None:
    with pytest.raises(WorkshopError, match="left on the disk; free some space, or set WORKSHOP_CACHE"):
        storage.require_space(tmp_path, 10**18)


def test_a_writable_folder_is_made_and_left_empty(tmp_path) -> None:
    storage.require_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_what_cannot_be_written_is_named_with_the_next_step(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkshopError, match=r"file/cache \(Not a directory\); set WORKSHOP_CACHE"):
        storage.require_writable(tmp_path / "file" / "cache")
    with pytest.raises(WorkshopError, match="use another"):
        storage.require_writable(tmp_path / "file", "use another")


def test_a_folder_that_may_not_be_searched_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    true_stat = os.stat

    def refused(path: str | Path, **rest: bool) -> os.stat_result:
        if closed in Path(path).parents:
            raise PermissionError(13, "Permission denied", str(path))
        return true_stat(path, **rest)

    monkeypatch.setattr(os, "stat", refused)
    assert existing_parent(closed / "inside" / "deeper") == closed
