"""A process that ends with the one that started it, whatever ended that one."""

import ctypes
import os
import signal
import sys
import threading
import time

PR_SET_PDEATHSIG = 1  # linux/prctl.h
LOOK_SECONDS = 0.5


def end_with(parent: int, death_signal: signal.Signals) -> None:
    """Have this process sent ``death_signal`` when ``parent`` has ended, at once if it has already.

    On Linux the kernel sends it, also to a process that is stuck in a library; elsewhere a thread looks.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), death_signal)
    else:
        threading.Thread(target=_look, args=(parent, death_signal), daemon=True).start()


def _look(parent: int, death_signal: signal.Signals) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os.kill(os.getpid(), death_signal)
