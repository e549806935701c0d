"""Notebook 07: what ``accelerate launch`` and ``torchrun`` start, and what ``accelerate config`` writes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from workshop_utils.lessons.script_view import script
from workshop_utils.lessons.table import Table
from workshop_utils.lessons.tier import device_of_ranks

TIMEOUT_SECONDS = 180
SAYS = "process "
ACCELERATE = ("-m", "accelerate.commands.launch")
TORCHRUN = ("-m", "torch.distributed.run")
# Port 0: a free one. The usual 29500 is everybody's on a shared node.
COMMANDS = (
    ("accelerate launch", ACCELERATE, ("--cpu", "--num_processes", "2")),
    ("accelerate launch", ACCELERATE, ("--multi_gpu", "--num_processes", "2", "--main_process_port", "0")),
    ("torchrun", TORCHRUN, ("--standalone", "--nproc-per-node", "2")),
)
SHOWN_SETTINGS = ("distributed_type", "num_processes", "use_cpu", "mixed_precision")


def launch_table(name: str = "who_am_i.py") -> Table:
    """Run a script of the lesson with each command, all at once, and return what its processes said.

    Where two processes do not find a GPU each, they run on the CPU: two on one GPU would fail in NCCL.
    """
    with tempfile.TemporaryDirectory() as home, ThreadPoolExecutor(len(COMMANDS)) as pool:
        ended = list(pool.map(lambda command: run(command[1], command[2], name, home), COMMANDS))
        # Launched at once, two may take the same port: what failed is started once more, alone.
        said = [
            lines if code == 0 else run(module, options, name, home)[1]
            for (_, module, options), (code, lines) in zip(COMMANDS, ended, strict=True)
        ]
    rows = [
        (f"{program} {' '.join(options)} {name}", f"{len(lines)}", " | ".join(lines) or "nothing: it failed")
        for (program, _, options), lines in zip(COMMANDS, said, strict=True)
    ]
    headers = ("command, asked for two processes", "started", "what they said")
    place = "two GPUs" if device_of_ranks() == "cuda" else "the CPU"
    return Table(headers, rows, f"Run here just now, on {place}.", text_columns=3)


def run(
    module: tuple[str, ...], options: tuple[str, ...], name: str, home: str
) -> tuple[int | None, list[str]]:
    """Return a command's exit code and what its processes said of themselves, sorted; all have ended then.

    HF_HOME is an empty folder: a reader's own ``accelerate config`` would answer for the options left out.
    """
    # Buffered, a process writes all that it says at once: the lines of two on one pipe do not mix.
    environment = {**os.environ, "HF_HOME": home, "PYTHONUNBUFFERED": "", "OMP_NUM_THREADS": "1"}
    if device_of_ranks() == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    command = [sys.executable, *module, *options, str(script(name).path)]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=environment, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            text = process.communicate(timeout=TIMEOUT_SECONDS)[0]
        except subprocess.TimeoutExpired:
            text = ""
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)  # of its own session: nobody else's process
    return process.returncode, sorted(line for line in text.splitlines() if line.startswith(SAYS))


def config_table() -> Table:
    """Return what ``accelerate config default`` would write on this machine; nothing is kept."""
    from accelerate.utils import write_basic_config

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "default_config.json"
        with contextlib.redirect_stdout(None):
            write_basic_config(save_location=str(file))
        settings = json.loads(file.read_text(encoding="utf-8"))
    rows = [(name, str(settings[name])) for name in SHOWN_SETTINGS if name in settings]
    caption = "`accelerate config default` would keep this here; `accelerate launch` then needs no options."
    return Table(("setting", "value"), rows, caption, text_columns=2)
