"""The example client of CONTRIBUTING.md runs as it is written there."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.workshop_monitor.server import TOKEN, running_server

CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"


def test_the_example_client_shows_each_gpu_of_the_first_samples(stub, tmp_path):
    (client,) = re.findall(r"^```python\n(.*?)^```$", CONTRIBUTING.read_text(encoding="utf-8"), re.M | re.S)
    stub.set_faults("gpus 2", "utilization 37", "memory_used 1000")
    with running_server(tmp_path / "home", stub.environment, "workshop_monitor") as server:
        address = {"JUPYTER_SERVER_URL": f"http://127.0.0.1:{server.port}/", "JUPYTER_TOKEN": TOKEN}
        done = subprocess.run(
            [sys.executable, "-c", client],
            env=os.environ | address,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    shown = [f"GPU {index}: 37 %, 1000 bytes" for index in range(2)]
    assert done.stdout.splitlines() == 3 * shown
