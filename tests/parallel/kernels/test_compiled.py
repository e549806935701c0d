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


@pytest.mark.parametrize("kernel", ["gated experts", "summed experts of 768", "summed experts of 192"])
def test_experts_are_read_16_bytes_a_load_and_a_tile_ahead_from_where_their_number_says(
    ptx: dict[str, str], kernel: str
) -> None:
    before_the_loop = ptx[kernel].split("fma.rn")[0]
    weights = list(re.finditer(r"ld\.global\.L1::evict_first\S*\.v4\.b32", before_the_loop))
    assert len(weights) >= 2 * 4
    assert "ld.global.b32" in before_the_loop[: weights[0].start()]
    assert len(re.findall(r"ld\.global\S*evict_first\S*", ptx[kernel])) == len(
        re.findall(r"ld\.global\S*evict_first\S*\.v4\.b32", ptx[kernel])
    )


def test_a_router_is_one_warp_that_speaks_by_shuffles(ptx: dict[str, str]) -> None:
    assert "shfl.sync" in ptx["router"] and "bar.sync" not in ptx["router"]


def test_tiles_for_tensor_cores_go_to_shared_memory_ahead_of_time(ptx: dict[str, str]) -> None:
    text = ptx["attention"]
    assert re.search(r"cp\.async\.cg\.shared\.global \[ ?%\S+ \+ \d+ ?\], \[ ?%\S+ \+ \d+ ?\], 0x10", text)
    assert re.search(r"mma\.sync\.aligned\.m16n8k16|wgmma\.mma_async", text)


@pytest.mark.parametrize("kernel", ["pushed_sum", "pushed matvec"])
def test_values_and_the_turn_that_vouches_for_them_are_written_as_one_word(
    ptx: dict[str, str], kernel: str
) -> None:
    stores = re.findall(r"st\.global\S*", ptx[kernel])
    words = [store for store in stores if store.endswith((".b64", ".u64"))]
    # A vector of two words is fine, half a word is not; what else is stored is the sum or the turn itself.
    assert len(words) >= 2
    assert kernel == "pushed_sum" or words == stores


def test_a_sum_reads_what_other_gpus_write_past_the_caches(ptx: dict[str, str]) -> None:
    assert re.search(r"ld\.volatile\.global\.(v2\.)?[bu]64", ptx["pushed_sum"])
