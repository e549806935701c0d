"""What the panel says of a decode loop, beside the loop's own benchmark.

``python tests/gpu/check_token_rates.py OUT``: ``workshop bench run`` decodes as if JupyterLab had started it,
and this program reads, as the panel's server does, the tokens that it reports and the power of its GPUs, once
a second. One JSON object in OUT/tokens.json. Needs jupyter_core; ``--small`` tries the script on a CPU, where
there is no energy.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from workshop_utils.measure.provenance import measured_here
from workshop_utils.monitor.sampler import Sampler
from workshop_utils.monitor.token_rates import TokenRates

LARGE = ("--model", "llama-3.1-8b", "--new", "512", "--repeats", "20", "--twin")
SMALL = ("--model", "smollm2-135m", "--new", "64", "--repeats", "6", "--twin", "--batch", "4")
# The first and the last seconds of a run are mixed with what was before and after.
EDGE = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--ranks", default="1")
    parser.add_argument("--small", action="store_true")
    arguments = parser.parse_args()
    options = [*(SMALL if arguments.small else LARGE), "--strategy", "tensor", "--ranks", arguments.ranks]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["JUPYTER_RUNTIME_DIR"] = folder
        found = watch([sys.executable, "-m", "workshop_utils", "bench", "run", *options, "--json"])
    about = "tokens and energy as the panel tells them"
    command = "python tests/gpu/check_token_rates.py"
    found["provenance"] = asdict(measured_here(about, {}, command, {"ranks": int(arguments.ranks)}))
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "tokens.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({name: value for name, value in found.items() if name != "frames"}, indent=1))


def watch(command: list[str]) -> dict[str, Any]:
    """Run the benchmark, and return its figures beside the medians of what was told meanwhile."""
    sampler = Sampler()
    rates, frames = TokenRates(sampler.history), []
    with subprocess.Popen(command, env=os.environ | {"JPY_PARENT_PID": "1"}, stdout=subprocess.PIPE) as loop:
        while loop.poll() is None:
            time.sleep(1)
            rate = rates.read()
            frames.append(None if rate is None else asdict(rate))
        figures = json.loads(loop.stdout.read() if loop.stdout else b"")
    sampler.stop()
    told = [frame for frame in frames if frame is not None]
    steady = told[EDGE:-EDGE] or told
    joules = [frame["joules_per_token"] for frame in steady if frame["joules_per_token"] is not None]
    return {
        "tokens_per_second": figures["tokens_per_s"],
        "tokens_per_second_told": statistics.median(frame["tokens_per_second"] for frame in steady),
        "joules_per_token": figures["joules_per_token"],
        "joules_per_token_told": statistics.median(joules) if joules else None,
        "frames": frames,
    }


if __name__ == "__main__":
    main()
