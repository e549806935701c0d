"""The kernels of this server, as process numbers with the names of their notebooks."""

from pathlib import PurePosixPath
from typing import Any


async def kernel_processes(settings: dict[str, Any]) -> dict[int, str]:
    """Return the notebook's file name for the process of each running kernel; remote kernels have none."""
    manager, sessions = settings.get("kernel_manager"), settings.get("session_manager")
    if manager is None or sessions is None:
        return {}
    found: dict[int, str] = {}
    for session in await sessions.list_sessions():
        kernel_id = session["kernel"]["id"]
        if kernel_id not in manager:
            continue
        pid = getattr(manager.get_kernel(kernel_id).provisioner, "pid", None)
        if isinstance(pid, int):
            found[pid] = PurePosixPath(session["path"]).name or session["name"]
    return found
