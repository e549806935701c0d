"""``python -m workshop_utils.monitor.collector``: says what this node does, for a panel on another one.

Started on each node by one srun, which carries lines in both ways, so that no port is opened: a reading a
second goes out, and a beat comes in. It ends when standard input does, which happens when whoever started
srun has ended, however that came about; and after ``SILENCE_SECONDS`` without a beat, should a network part
them.
"""

import os
import select
import sys
import threading
from platform import node

from workshop_utils.hardware.nvml_brief import BriefNvml
from workshop_utils.monitor.node_reading import lines_of, reading_of
from workshop_utils.monitor.sampler import Sampler

HZ = 1.0
BEAT_SECONDS = 2.0
SILENCE_SECONDS = 20.0
# A driver call that hangs, or output that nobody takes, must not keep it.
END_SECONDS = 2.0


def main() -> int:
    """Say what this node does until nobody listens."""
    awake, ended = threading.Event(), threading.Event()
    listener = threading.Thread(target=_listen, args=(awake, ended), name="workshop-beats", daemon=True)
    listener.start()
    sampler = Sampler(BriefNvml())
    subscription = sampler.subscribe(HZ, awake.set)
    # Slurm's name for the node, by which it was asked for; the machine's own may differ.
    name, tick = os.environ.get("SLURMD_NODENAME") or node(), 0
    while not ended.is_set():
        awake.wait()
        awake.clear()
        sample = subscription.take()
        if sample is None:
            continue
        tick += 1
        try:
            for line in lines_of(reading_of(sample), name, tick):
                sys.stdout.write(line + "\n")
                sys.stdout.flush()  # each line for itself: what is flushed together may be cut anywhere
        except OSError:
            break
    sampler.stop(END_SECONDS)
    return 0


def _listen(awake: threading.Event, ended: threading.Event) -> None:
    """End the main thread when the beats end, and the process if that takes too long."""
    while select.select([0], [], [], SILENCE_SECONDS)[0] and os.read(0, 1024):
        pass
    ended.set()
    awake.set()
    threading.Event().wait(END_SECONDS)
    os._exit(0)


if __name__ == "__main__":
    code = main()
    # Standard output may be gone, which Python would complain about on its way out.
    os._exit(code)
