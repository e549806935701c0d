"""What the compiler makes of the kernels for a Hopper GPU: that their loads are wide, early and enough."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from workshop_utils.parallel.kernels.matvec import blocks_for


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


@pytest.mark.parametrize(("kernel", "batch"), [("matvec", 1), ("gated_matvec", 1), ("matvec of 4", 4)])
def test_a_product_reads_16_bytes_a_load_and_a_tile_ahead(
    ptx: dict[str, str], kernel: str, batch: int
) -> None:
    before_the_loop = ptx[kernel].split("fma.rn")[0]
    weights = r"ld\.global\.L1::evict_first\S*\.v4\.b32"
    assert len(re.findall(weights, before_the_loop)) >= blocks_for(4096, 4096, batch).rows
    assert all(".v4.b32" in load for load in re.findall(r"ld\.global\S*", ptx[kernel]))


def test_tiles_for_tensor_cores_go_to_shared_memory_ahead_of_time(ptx: dict[str, str]) -> None:
    text = ptx["attention"]
    assert re.search(r"cp\.async\.cg\.shared\.global \[ ?%\S+ \+ \d+ ?\], \[ ?%\S+ \+ \d+ ?\], 0x10", text)
    assert re.search(r"mma\.sync\.aligned\.m16n8k16|wgmma\.mma_async", text)


def test_a_sum_raises_its_flags_for_the_whole_machine_after_all_threads_wrote(ptx: dict[str, str]) -> None:
    written, raised, waited = (
        ptx["pushed_sum"].index(word)
        for word in ("st.global.v4", "atom.global.sys.release", "ld.global.sys.acquire")
    )
    assert written < raised < waited
    assert "bar.sync" in ptx["pushed_sum"][written:raised]
    assert "ld.volatile.global.v4" in ptx["pushed_sum"][waited:]
