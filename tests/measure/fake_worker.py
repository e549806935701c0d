"""Stands in for the worker of one case: the case's model says how it behaves."""

import json
import os
import signal
import sys
import time
from pathlib import Path

from workshop_utils.measure.bench_memory_worker import end_with_parent

case, device, notes = json.loads(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
journal = Path(os.environ["JOURNAL"])


def write(event: str) -> None:
    with journal.open("a", encoding="utf-8") as file:
        file.write(f"{event} {case['tokens']} {os.getpid()}\n")


def note(row: dict) -> None:
    with notes.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


write("start")
note({"stage": "preparing"})
if case["model"] == "dies-early":
    sys.exit("no such model")
sys.stdin.readline()
end_with_parent()
write("go")
note({"stage": "computing the prefill"})
if case["model"] == "crashes":
    print("a long traceback\nRuntimeError: it broke", file=sys.stderr)
    os._exit(3)
if case["model"] == "is-killed":
    os.kill(os.getpid(), signal.SIGKILL)
if case["model"] == "hangs":
    time.sleep(600)
if case["model"] == "half-a-note":
    with notes.open("a", encoding="utf-8") as file:
        file.write('{"outcome": "meas')
    os._exit(0)
time.sleep(0.2)
note({"outcome": "measured", "message": None, "values": [{"process": case["tokens"], "device": len(device)}]})
write("end")
os._exit(0)
