"""Programs that stand in for Slurm's and vLLM's: they write down what they were given."""

from pathlib import Path

# Each call is a line of JSON; what --pass names is run as it stands.
RECORDER = """#!{python}
import json, os, sys
with open({log!r}, "a") as log:
    log.write(json.dumps([{name!r}, *sys.argv[1:]]) + "\\n")
{then}
"""
# srun runs its command here, scontrol knows one host, curl finds servers ready, which wait for their end.
THEN = {
    "srun": "os.execvp(sys.argv[1], sys.argv[1:])",
    "scontrol": "print('localhost')",
    "vllm": "if sys.argv[1] == 'serve': import time; time.sleep(60)",
}


def fake_programs(folder: Path, *names: str) -> Path:
    """Make programs in a folder; returns the file that they log to."""
    # The system's Python: quick to start, and none of ours on its path.
    python = next(path for path in ("/usr/bin/python3", "/usr/local/bin/python3") if Path(path).exists())
    log = folder / "calls"
    for name in names:
        program = folder / name
        program.write_text(
            RECORDER.format(python=f"{python} -IS", log=str(log), name=name, then=THEN.get(name, ""))
        )
        program.chmod(0o755)
    return log
