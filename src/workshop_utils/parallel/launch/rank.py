"""The start of one rank: ``python -m … SCRIPT [arguments]``, run by torchrun.

It ends with torchrun, writes what the rank prints into the rank's log, runs the script as ``python SCRIPT``
would, and notes how the script ended.
"""

import faulthandler
import os
import runpy
import signal
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from workshop_utils.errors import WorkshopError
from workshop_utils.parallel.launch import notes
from workshop_utils.parallel.launch.parent_death import end_with
from workshop_utils.parallel.launch.run_folder import RUN_AGENT, RUN_FOLDER, RUN_NOTES, RunFolder

# A message of torch can be pages long; its beginning says what happened.
MESSAGE_CHARACTERS = 400


def main(script: str, arguments: list[str]) -> int:
    """Run the script to its end; a script that fails ends the process here."""
    end_with(int(os.environ[RUN_AGENT]), signal.SIGKILL)
    folder, rank = RunFolder(Path(os.environ[RUN_FOLDER])), int(os.environ["RANK"])
    os.environ[RUN_NOTES] = str(folder.notes(rank))
    _print_into(folder.log(rank))
    # The launcher asks a rank that hangs where it stands.
    faulthandler.register(signal.SIGUSR1, folder.stack(rank).open("w"), all_threads=False)
    notes.note({"pid": os.getpid()})
    sys.argv = [script, *arguments]
    sys.path.insert(0, str(Path(script).parent))
    try:
        runpy.run_path(script, run_name="__main__")
    # Whatever a script raises ends this rank and is told.
    except BaseException as error:
        if not isinstance(error, SystemExit) or error.code not in (None, 0):
            _fail(error, script)
    notes.note({"ended": True})
    return 0


def _print_into(log: Path) -> None:
    """Send what this process and its children print into the log, both streams in their order."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def _fail(error: BaseException, script: str) -> NoReturn:
    """Note and print the error as Python would, without the frames that ran the script, and end at once."""
    _note_error(error, script)
    code = 1
    if isinstance(error, WorkshopError):
        print(error, file=sys.stderr)  # a sentence for the reader, who needs no frames to it
    elif not isinstance(error, SystemExit):
        traceback.print_exception(error.with_traceback(_from_script(error.__traceback__, script)))
    elif isinstance(error.code, int):
        code = error.code
    else:
        print(error.code, file=sys.stderr)
    sys.stdout.flush()
    # Not through Python's own end: there a communicator or a thread may wait for the other ranks.
    os._exit(code)


def _note_error(error: BaseException, script: str) -> None:
    out_of_memory = is_out_of_memory(error)
    if out_of_memory and (sizes := _gpu_memory()):
        notes.memory(**sizes)
    message = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}".removesuffix(": ")
    row = {
        "message": message[:MESSAGE_CHARACTERS],
        "line": None if isinstance(error, WorkshopError) else _last_line(error.__traceback__, script),
        "for_reader": str(error) if isinstance(error, WorkshopError) else None,
        "out_of_memory": out_of_memory,
    }
    notes.note({"error": row})


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether the GPU, or the CPU's allocator, had no memory left; torch need not be there."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & {"OutOfMemoryError", "MemoryError"}:
        return True
    # The CPU's allocator and cuBLAS raise a plain RuntimeError.
    return any(words in str(error) for words in ("can't allocate memory", "out of memory", "ALLOC_FAILED"))


def _gpu_memory() -> dict[str, int]:
    """Return what is used of this rank's GPU, while the script's tensors are still alive."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return {}
    free, total = torch.cuda.mem_get_info()
    return {"used_bytes": total - free, "total_bytes": total}


def _from_script(frames: TracebackType | None, script: str) -> TracebackType | None:
    while frames is not None and frames.tb_frame.f_code.co_filename != script:
        frames = frames.tb_next
    return frames


def _last_line(frames: TracebackType | None, script: str) -> int | None:
    """Return the line of the script at which it left the script for good."""
    lines = [line for frame, line in traceback.walk_tb(frames) if frame.f_code.co_filename == script]
    return lines[-1] if lines else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
