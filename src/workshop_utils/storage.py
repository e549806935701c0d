"""Where the workshop keeps what it makes, and whether there is room: standard library only.

The bootstrap script imports this file before anything is installed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from workshop_utils.errors import WorkshopError
from workshop_utils.units import format_gb

FOLDER_NAME = "multigpu-llm-workshop"
# The two conventions that most centres follow; {user} is the login name.
SCRATCH_CANDIDATES = ("$SCRATCH", "/scratch/{user}")
# rquotad on a busy file server may take its time; a reader who waits for a preflight should not.
QUOTA_TIMEOUT_SECONDS = 2.0
KIB = 1024
SET_CACHE = "set WORKSHOP_CACHE to a folder that you may write and that has room"


@dataclass(frozen=True)
class FreeSpace:
    """Bytes that this user may still write in a folder, and what sets that figure."""

    free_bytes: int
    bound_by: str  # "disk" or the name of the quota command that answered


@dataclass(frozen=True)
class Mount:
    """One line of the mount table: what is mounted, where, and as which kind of file system."""

    source: str
    folder: str
    kind: str


def scratch_folder() -> Path | None:
    """Return the cluster's scratch folder of this user, or None where there is none that can be written."""
    user = os.environ.get("USER", "")
    for candidate in SCRATCH_CANDIDATES:
        if candidate.startswith("$"):
            text = os.environ.get(candidate[1:], "")
        else:
            text = candidate.format(user=user) if user else ""
        if text and Path(text).is_dir() and os.access(text, os.W_OK | os.X_OK):
            return Path(text)
    return None


def cache_folder() -> Path:
    """Return the folder for everything large: ``WORKSHOP_CACHE``, else scratch, else the XDG cache.

    The folder may not exist yet; ``require_writable`` makes it.
    """
    chosen = os.environ.get("WORKSHOP_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    scratch = scratch_folder()
    if scratch is not None:
        return scratch / FOLDER_NAME
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache") / FOLDER_NAME


def shared_folder() -> Path:
    """Return the folder, often read-only, that one install shares with a whole class.

    ``WORKSHOP_SHARED``, else ``share/multigpu-llm-workshop`` of this Python environment.
    """
    chosen = os.environ.get("WORKSHOP_SHARED")
    return Path(chosen).expanduser().absolute() if chosen else Path(sys.prefix) / "share" / FOLDER_NAME


def existing_parent(folder: Path) -> Path:
    """Return the folder itself, or its nearest ancestor that exists."""
    folder = folder.absolute()
    # os.path says no where pathlib raises: below a folder that may not be searched.
    return next((path for path in (folder, *folder.parents) if os.path.isdir(path)), Path(folder.anchor))


def free_space(folder: Path) -> FreeSpace:
    """Return the smaller of free disk and remaining quota, and which of them binds.

    The folder need not exist. A quota that nobody reports is no limit.
    """
    place = existing_parent(folder)
    spaces = [FreeSpace(shutil.disk_usage(place).free, "disk")]
    mount = find_mount(place)
    if mount is not None:
        spaces += [space for space in (quota_left(mount),) if space is not None]
    return min(spaces, key=lambda space: space.free_bytes)


def free_bytes(folder: Path) -> int:
    """Return how many bytes this user may still write in ``folder``: disk and quota, the smaller."""
    return free_space(folder).free_bytes


def require_space(folder: Path, needed_bytes: int, next_step: str = SET_CACHE) -> None:
    """Raise ``WorkshopError`` when fewer than ``needed_bytes`` are left on the disk or in the quota."""
    space = free_space(folder)
    if space.free_bytes < needed_bytes:
        limit = "on the disk" if space.bound_by == "disk" else f"of your quota (says {space.bound_by})"
        raise WorkshopError(
            f"{folder} needs {format_gb(needed_bytes)} but {format_gb(space.free_bytes)} are left {limit}; "
            f"free some space, or {next_step}."
        )


def require_writable(folder: Path, next_step: str = SET_CACHE) -> None:
    """Make the folder where it is missing and write one small file; ``WorkshopError`` when that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        raise WorkshopError(f"cannot write in {folder} ({error.strerror or error}); {next_step}.") from error


def find_mount(folder: Path, table: Path = Path("/proc/self/mounts")) -> Mount | None:
    """Return the mount that holds ``folder``; None where there is no mount table (macOS, Windows)."""
    try:
        lines = table.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    # The kernel writes a space in a mount point as \040.
    words = [[word.replace("\\040", " ") for word in line.split()] for line in lines]
    mounts = [
        Mount(*word[:3]) for word in words if len(word) >= 3 and folder.resolve().is_relative_to(word[1])
    ]
    # Of equally deep ones the later was mounted over the earlier.
    return max(enumerate(mounts), key=lambda pair: (len(pair[1].folder), pair[0]))[1] if mounts else None


def quota_left(mount: Mount) -> FreeSpace | None:
    """Return what the user's quota leaves on this mount, or None when no quota is reported."""
    user = os.environ.get("USER", str(os.getuid()) if hasattr(os, "getuid") else "")
    commands: dict[str, tuple[list[str], Callable[[str, Mount], int | None]]] = {
        "lustre": (["lfs", "quota", "-u", user, mount.folder], left_of_quota),
        "gpfs": (["mmlsquota", "-u", user, "-Y", mount.source.removeprefix("/dev/")], left_of_mmlsquota),
    }
    command, parse = commands.get(mount.kind, (["quota", "-w"], left_of_quota))
    if shutil.which(command[0]) is None:
        return None
    try:
        # The exit code says "over quota" as often as "failed": the text decides.
        answer = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=QUOTA_TIMEOUT_SECONDS,
            stdin=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    left = parse(answer.stdout, mount)
    return None if left is None else FreeSpace(left, command[0])


def left_of_limits(used_kib: int, limits_kib: list[int]) -> int | None:
    """Return the bytes left under the lowest limit; a limit of 0 means none (quota(1), lfs-quota(1))."""
    real = [limit for limit in limits_kib if limit > 0]
    return max(0, min(real) - used_kib) * KIB if real else None


def left_of_quota(text: str, mount: Mount) -> int | None:
    """Read ``quota -w`` or ``lfs quota``: file system, KiB used, soft limit, hard limit.

    A long file system name stands on a line of its own; ``*`` marks a user over the soft limit and
    brackets a figure from servers that did not all answer.
    """
    words = text.split()
    for position, word in enumerate(words[:-3]):
        if word in {mount.source, mount.folder}:
            numbers = [figure.strip("[]*") for figure in words[position + 1 : position + 4]]
            if all(number.isdigit() for number in numbers):
                used, soft, hard = map(int, numbers)
                return left_of_limits(used, [soft, hard])
    return None


def left_of_mmlsquota(text: str, mount: Mount) -> int | None:
    """Read ``mmlsquota -Y``: a header line and data lines, fields between colons, figures in KiB."""
    rows = [line.split(":") for line in text.splitlines() if line.startswith("mmlsquota:")]
    header = next((row for row in rows if "HEADER" in row), None)
    lefts = []
    for row in rows:
        fields = dict(zip(header, row, strict=False)) if header and row is not header else {}
        figures = [fields.get(name, "") for name in ("blockUsage", "blockQuota", "blockLimit")]
        if fields.get("quotaType") == "USR" and all(figure.isdigit() for figure in figures):
            used, soft, hard = map(int, figures)
            lefts.append(left_of_limits(used, [soft, hard]))
    return min((left for left in lefts if left is not None), default=None)
