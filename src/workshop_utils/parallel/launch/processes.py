"""All processes of a run: found by what stands in their environment, and ended.

torchrun gives each rank a session of its own and a rank may start more, so neither a process group nor the
tree of parents reaches all of them. What they inherited when they started does.
"""

import signal
import time

import psutil

from workshop_utils.parallel.launch.run_folder import RUN_ID

# Between the polite signal and the other one; also torchrun's, in place of its 30 s.
GRACE_SECONDS = 3
# A killed process is gone at once, unless the kernel itself waits for a device.
KILL_SECONDS = 3
LOOK_SECONDS = 0.05


def processes_of(run_id: str) -> list[psutil.Process]:
    """Return the living processes of a run."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(RUN_ID) == run_id and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):  # ended meanwhile, or another user's
            continue
    return found


def end_processes(run_id: str) -> tuple[int, ...]:
    """End all processes of a run: SIGTERM, then SIGKILL. Return the ids of those that even so remain."""
    try:
        _signal_until_gone(run_id, signal.SIGTERM, GRACE_SECONDS)
    finally:  # an impatient second Ctrl-C only cuts the grace short
        remaining = _signal_until_gone(run_id, signal.SIGKILL, KILL_SECONDS)
    return remaining


def _signal_until_gone(run_id: str, number: signal.Signals, seconds: float) -> tuple[int, ...]:
    """Signal each process once, those that appear meanwhile too, and wait until none is left."""
    deadline = time.monotonic() + seconds
    told: set[int] = set()
    while processes := processes_of(run_id):
        for process in processes:
            if process.pid not in told:
                told.add(process.pid)
                try:
                    process.send_signal(number)
                except psutil.Error:
                    continue
        if time.monotonic() > deadline:
            break
        time.sleep(LOOK_SECONDS)
    return tuple(process.pid for process in processes)
