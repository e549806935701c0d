"""The GPU catalogue: complete, plausible, and every figure with a source."""

import pytest

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import Gpu, find_gpu, load_gpus
from workshop_utils.units import GB

# GPU types of the cluster in the slides, and what researchers meet elsewhere.
WANTED = {
    "A100-40GB", "A100-80GB", "A40", "A6000", "V100-32GB", "RTX 3090", "RTX 2080 Ti", "H200", "L40S",
    "H100-80GB", "L4", "T4", "A10", "B200", "RTX 4090",
}  # fmt: skip


def test_every_wanted_type_is_there_once() -> None:
    names = [gpu.name for gpu in load_gpus()]
    assert set(names) >= WANTED
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("gpu", load_gpus(), ids=lambda gpu: gpu.name)
def test_each_type_is_plausible_and_has_sources(gpu: Gpu) -> None:
    # A marketed "80 GB" is 80 GiB on many cards, of which the driver keeps at most a tenth.
    assert 0.9 * gpu.marketed_gb * GB <= gpu.usable_bytes < 1.074 * gpu.marketed_gb * GB
    assert gpu.usable_certainty in {"measured", "assumed"}
    assert len(gpu.source) > 20
    assert len(gpu.usable_source) > 20
    assert 250 <= gpu.bandwidth_gb_per_s <= 8000
    assert 50 <= gpu.half_tflops <= 2500
    assert gpu.native_bf16 == (float(gpu.compute_capability) >= 8.0)
    assert gpu.nvlink_gb_per_s is None or gpu.nvlink_gb_per_s >= 100


def test_usable_memory_of_the_two_that_were_measured_for_this_project() -> None:
    assert find_gpu("H100-80GB").usable_gib == 79.19
    assert find_gpu("H200").usable_gib == 139.8


@pytest.mark.parametrize(
    ("name", "found"),
    [("h200", "H200"), ("NVIDIA H200", "H200"), ("rtx2080ti", "RTX 2080 Ti"), ("Tesla T4", "T4"),
     ("NVIDIA A100-SXM4-80GB", "A100-80GB"), ("a100 80gb", "A100-80GB")],
)  # fmt: skip
def test_our_names_and_the_drivers_are_found(name: str, found: str) -> None:
    assert find_gpu(name).name == found


@pytest.mark.parametrize("name", ["A100", "H2000", "", "graphics card"])
def test_an_unknown_or_ambiguous_name_gives_choices(name: str) -> None:
    with pytest.raises(WorkshopError, match=r"choose one of .*00"):
        find_gpu(name)


def test_an_ambiguous_name_gives_exactly_the_types_that_fit() -> None:
    with pytest.raises(WorkshopError, match=r"choose one of A100-80GB, A100-40GB\."):
        find_gpu("a100")
