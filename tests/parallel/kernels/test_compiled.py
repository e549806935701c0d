"""What the compiler makes of the kernels for a Hopper GPU: that their loads are wide, early and enough."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from workshop_utils.parallel.kernels.matvec import blocks_for
from workshop_utils.parallel.kernels.overlap import launch_options, overlap_supported

WAIT = "griddepcontrol.wait"


@pytest.fixture(scope="module")
def ptx(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path_factory.mktemp("triton"))
    script = Path(__file__).with_name("compiled_for_hopper.py")
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kernel", ["matvec", "gated_matvec"])
def test_a_product_reads_16_bytes_a_load_and_its_first_weights_before_it_waits(
    ptx: dict[str, str], kernel: str
) -> None:
    before, after = ptx[kernel].split(WAIT)
    weights = r"ld\.global\.L1::evict_first\S*\.v4\.b32"
    assert len(re.findall(weights, before)) == blocks_for(4096, 4096, batch=1).rows
    loads = re.findall(r"ld\.global\S*", before + after)
    assert all(".v4.b32" in load for load in loads)


@pytest.mark.parametrize("kernel", ["matvec of 8", "attention"])
def test_tiles_for_tensor_cores_go_to_shared_memory_ahead_of_time(ptx: dict[str, str], kernel: str) -> None:
    before, after = ptx[kernel].split(WAIT)
    assert "cp.async" not in before
    assert re.search(r"cp\.async\.cg\.shared\.global \[ ?%\S+ \+ \d+ ?\], \[ ?%\S+ \+ \d+ ?\], 0x10", after)
    assert re.search(r"mma\.sync\.aligned\.m16n8k16|wgmma\.mma_async", after)


def test_every_kernel_lets_the_next_one_start(ptx: dict[str, str]) -> None:
    assert all("griddepcontrol.launch_dependents" in text.split(WAIT)[0] for text in ptx.values())


def test_launches_name_overlap_only_when_it_is_wanted() -> None:
    assert launch_options(True)["launch_pdl"]
    assert "launch_pdl" not in launch_options(False)
    assert not overlap_supported(torch.device("cpu"))
