"""Device maps: Accelerate's own, what they need, and the map that holds at a promised context."""

import json
import re
from itertools import combinations_with_replacement, pairwise
from pathlib import Path

import pytest
import torch
from transformers.integrations import accelerate as of_transformers

from tests.nvml_stub.fixtures import Stub, stub, stub_library
from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import Gpu
from workshop_utils.measure.measurement import load_measurements
from workshop_utils.memory.estimate import estimate
from workshop_utils.memory.phases import replica_estimates
from workshop_utils.memory.sharding import shards_of
from workshop_utils.models.find import find_architecture
from workshop_utils.parallel.big_model.advice import CHOICES, advise
from workshop_utils.parallel.big_model.devices import DISK, HOST, DeviceSet, imagined_devices
from workshop_utils.parallel.big_model.fitting import Fit, fitting_map
from workshop_utils.parallel.big_model.maps import MAP_KINDS, accelerate_map, default_limits
from workshop_utils.parallel.big_model.module_sizes import tied_skeleton
from workshop_utils.parallel.big_model.out_of_memory import explained_out_of_memory
from workshop_utils.parallel.big_model.peaks import device_peaks, workload_of
from workshop_utils.parallel.big_model.placement import placement_of
from workshop_utils.parallel.big_model.speed import expected_tpot, speeds
from workshop_utils.units import GB, GIB

__all__ = ["stub", "stub_library"]
REFERENCES = Path(__file__).parents[2] / "notebooks" / "recorded" / "two_h100_references.json"

# model, devices, tokens, batch: from a phone's model on one old GPU to 671 billion parameters on eight.
CASES = [
    ("smollm2-135m", "none", 512, 1),
    ("smollm2-135m", "1 x RTX-2080Ti", 8192, 8),
    ("llama-3.2-1b", "1 x RTX-2080Ti", 4096, 1),
    ("llama-3.2-3b", "2 x RTX-2080Ti", 4096, 1),
    ("llama-3.1-8b", "1 x A40", 8192, 1),
    ("llama-3.1-8b", "1 x RTX-3090", 4096, 1),
    ("llama-3.1-8b", "4 x RTX-2080Ti", 2048, 1),
    ("llama-3.1-8b", "2 x H100-80GB", 32768, 4),
    ("llama-3.1-8b", "1 x RTX-2080Ti + 1 x A40", 8192, 1),
    ("gemma-3-4b", "2 x A40", 8192, 1),
    ("gemma-3-12b", "4 x RTX-3090", 8192, 1),
    ("gemma-3-27b", "2 x A40", 8192, 1),
    ("gemma-3-27b", "4 x A40", 32768, 1),
    ("qwen3-8b", "2 x T4", 4096, 2),
    ("qwen3-14b", "2 x RTX-3090", 8192, 1),
    ("qwen3-32b", "2 x A40", 4096, 1),
    ("qwen3-32b", "1 x A40 + 1 x H100-80GB", 32768, 1),
    ("qwen3-30b-a3b", "2 x A40", 8192, 1),
    ("phi-4", "1 x A40", 8192, 1),
    ("mistral-small-24b", "2 x A40", 16384, 1),
    ("mistral-small-24b", "3 x RTX-3090", 4096, 1),
    ("mixtral-8x7b", "2 x A100-80GB", 4096, 1),
    ("mixtral-8x7b", "8 x RTX-3090", 4096, 1),
    ("mixtral-8x7b", "2 x A40", 4096, 1),
    ("llama-3.1-70b", "2 x H100-80GB", 4096, 1),
    ("llama-3.1-70b", "4 x A40", 8192, 1),
    ("llama-3.1-70b", "8 x A40", 32768, 1),
    ("llama-3.1-70b", "4 x A100-80GB", 32768, 1),
    ("llama-3.1-70b", "1 x A40", 4096, 1),
    ("olmo-2-13b", "2 x RTX-3090", 4096, 1),
    ("codellama-7b", "2 x RTX-2080Ti", 2048, 1),
    ("gpt-oss-20b", "2 x A40", 4096, 1),
    ("deepseek-v2-lite", "1 x A40", 4096, 1),
    ("qwen2.5-14b", "1 x A40", 32768, 1),
]  # fmt: skip


@pytest.mark.parametrize(("model", "text", "tokens", "batch"), CASES, ids=str)
def test_a_fitting_map_holds_and_uses_no_more_gpus_than_needed(
    model: str, text: str, tokens: int, batch: int
) -> None:
    devices = imagined_devices(text, host_gib=256)
    fit = fitting_map(model, devices, tokens=tokens, batch=batch)
    assert fit.holds
    assert len(fit.placement.layers) == len(find_architecture(model).layers)
    assert fit.offloads == any(home in {HOST, DISK} for home in fit.placement.layers if devices.gpus)
    # Accelerate itself, asked anew with these limits, has the same map.
    again = accelerate_map(model, fit.devices, kind="sequential", max_memory=fit.max_memory)
    assert again == fit.placement
    fewer = fit.gpus - 1 if not fit.offloads else len(devices.gpus)
    if fewer > 0:
        assert not any_split_holds(model, roomiest(devices, fewer), tokens, batch)


def roomiest(devices: DeviceSet, count: int) -> list[Gpu]:
    gpus = sorted((gpu for gpu in devices.gpus), key=lambda gpu: -gpu.free_bytes)[:count]
    return [gpu.gpu for gpu in sorted(gpus, key=lambda gpu: gpu.key) if gpu.gpu]


def any_split_holds(model: str, gpus: list[Gpu], tokens: int, batch: int) -> bool:
    """Try all ways to cut the layers, or with more than two GPUs those that the bytes of a layer allow."""
    architecture = find_architecture(model)
    depth, workload = len(architecture.layers), workload_of(tokens, batch)
    if len(gpus) > 2:
        # Weights and cache alone, without any activation, are more than all have together.
        whole = estimate(architecture, tokens=tokens, batch=batch)
        inside = whole.weights_bytes + whole.kv_cache_bytes
        if inside > sum(gpu.usable_bytes for gpu in gpus):
            return False
    for cuts in combinations_with_replacement(range(depth + 1), len(gpus) - 1):
        edges = (0, *cuts, depth)
        counts = tuple(after - before for before, after in pairwise(edges))
        if min(counts) == 0 or (len(gpus) > 2 and max(counts) - min(counts) > 8):
            continue
        found = replica_estimates(shards_of(architecture, 1, counts), workload, gpus[0])
        if all(each.fits(gpu.usable_bytes) for each, gpu in zip(found, gpus, strict=True)):
            return True
    return False


@pytest.mark.parametrize("kind", MAP_KINDS)
@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("llama-3.1-70b", "4 x A40"),
        ("gemma-3-12b", "2 x RTX-2080Ti"),
        ("mixtral-8x7b", "1 x A40 + 1 x RTX-3090"),
    ],
)
def test_transformers_copy_of_the_function_makes_the_same_map(model: str, text: str, kind: str) -> None:
    devices = imagined_devices(text)
    ours = accelerate_map(model, devices, kind=kind)
    skeleton = tied_skeleton(model, "bfloat16")
    theirs = of_transformers._get_device_map(skeleton, kind, default_limits(devices), None)
    found = placement_of(skeleton, theirs, devices)
    assert (found.layers, found.bytes_by_device) == (ours.layers, ours.bytes_by_device)


def test_the_hops_of_a_token_are_counted_there_and_back() -> None:
    found = accelerate_map("llama-3.1-70b", imagined_devices("4 x A40"))
    assert found.hops == 4  # 0 → 1 → 2 → 3, and the token back to 0
    assert accelerate_map("llama-3.1-8b", imagined_devices("1 x A40")).hops == 0
    # What is offloaded runs on the first GPU: 0 → 1 → 0, where the next token begins.
    split = accelerate_map("mixtral-8x7b", imagined_devices("2 x A40"))
    assert split.layers[-1] == HOST
    assert split.hops == 2


def test_bytes_of_a_map_add_up_to_the_model() -> None:
    for model in ("llama-3.1-70b", "gemma-3-4b", "qwen3-30b-a3b"):
        found = accelerate_map(model, imagined_devices("1 x A40"))
        assert (
            sum(found.bytes_by_device.values()) == estimate(find_architecture(model), tokens=1).weights_bytes
        )


def test_accelerates_own_map_may_not_hold_what_it_did_not_count() -> None:
    devices = imagined_devices("2 x A40")
    placement = accelerate_map("mixtral-8x7b", devices)
    peaks = device_peaks(find_architecture("mixtral-8x7b"), placement, devices, tokens=4096)
    assert [peak.fits for peak in peaks] == [False, False, True, True]
    assert all(peak.process_bytes > peak.device.free_bytes for peak in peaks[:2])


def test_a_peak_of_a_map_is_the_engines_for_the_same_stages() -> None:
    devices = imagined_devices("2 x H100-80GB")
    placement = accelerate_map("llama-3.1-70b", devices)
    assert placement.layers.count(0) == placement.layers.count(1) == 40
    mine = device_peaks(find_architecture("llama-3.1-70b"), placement, devices, tokens=4096)
    gpu = devices.gpus[0].gpu
    engine = estimate(find_architecture("llama-3.1-70b"), tokens=4096, pipeline_parallel=2, gpu=gpu)
    assert [peak.peak_bytes for peak in mine[:2]] == [each.peak_bytes for each in engine.per_gpu]


def test_a_host_that_computes_holds_weights_and_cache() -> None:
    devices = imagined_devices("none")
    placement = accelerate_map("smollm2-135m", devices)
    host, disk = device_peaks(find_architecture("smollm2-135m"), placement, devices, tokens=4096)
    whole = estimate(find_architecture("smollm2-135m"), tokens=4096)
    assert host.peak_bytes == whole.weights_bytes + whole.kv_cache_bytes
    assert disk.peak_bytes == 0


def test_a_tied_embedding_that_is_offloaded_moves_twice_a_token() -> None:
    skeleton = tied_skeleton("smollm2-135m", "bfloat16")
    found = placement_of(skeleton, {"": DISK}, imagined_devices("none"))
    whole = estimate(find_architecture("smollm2-135m"), tokens=1).weights_bytes
    assert found.bytes_by_device[DISK] == whole
    assert found.moved_by_device[DISK] == whole + 49152 * 576 * 2
    assert found.largest_moved_bytes == 49152 * 576 * 2


def test_offloaded_layers_have_their_cache_on_the_first_gpu() -> None:
    devices = imagined_devices("1 x A40", host_gib=200)
    fit = fitting_map("llama-3.1-70b", devices, tokens=4096)
    gpu, host, disk = fit.peaks
    assert gpu.estimate
    whole = estimate(find_architecture("llama-3.1-70b"), tokens=4096)
    assert gpu.estimate.bytes_of("kv_cache") == whole.kv_cache_bytes
    assert host.peak_bytes == fit.placement.bytes_by_device[HOST] > 0
    assert disk.peak_bytes == 0
    assert fit.placement.largest_moved_bytes == 128256 * 8192 * 2  # the head, the largest module


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({1: GB, HOST: GB}, r"no device 1 here; the devices are 0, 'cpu', 'disk'"),
        ({"cuda:0": GB}, r"no device 'cuda:0' here"),
        ({0: -1}, r"device 0 is -1; give whole bytes"),
        ({0: "10GB"}, r"device 0 is '10GB'; give whole bytes"),
        (
            {0: GB // 2, HOST: 100 * GB},
            r"0\.5 GB, too little for one layer: model\.layers\.0 is 0\.4 GB",
        ),
    ],
)
def test_a_max_memory_that_cannot_be_is_one_sentence(limits: dict[int | str, int], sentence: str) -> None:
    with pytest.raises(WorkshopError, match=sentence):
        accelerate_map("llama-3.1-8b", imagined_devices("1 x A40"), max_memory=limits)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("4 x", "no GPU type is called"), ("", "names no GPUs; write for example"), ("0 x A40", "0 GPUs in"),
        ("65 x A40", "65 GPUs"), ("40 x A40 + 40 x A40", "80 GPUs; give at most 64"),
        ("2 x X9", "no GPU type"), ("A100", "A100-80GB"), ("1" * 5000 + " x A40", "'1{60}…' .*; write for"),
        *((text, r"no GPU type is called .*; write for example '4 x A40'") for text in (
            "4 x", "-2 x A40", "x A40", "2 A40", "1e9 x A40", "4 × A40; 2 x L4", "A40 + 2 A40")),
        ("A41", r"choose one of [^;]*\.$"),
    ],
)  # fmt: skip
def test_devices_that_cannot_be_imagined_are_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(WorkshopError, match=sentence):
        imagined_devices(text)


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        ({"host_gib": -1}, "host memory cannot be -1 GiB; give a number from 0 on"),
        ({"disk_gb": float("inf")}, "disk cannot be inf GB; give a number from 0 on"),
    ],
)
def test_host_and_disk_that_cannot_be_are_one_sentence(sizes: dict[str, float], sentence: str) -> None:
    with pytest.raises(WorkshopError, match=sentence):
        imagined_devices("1 x A40", **sizes)


def test_devices_are_read_as_people_write_them() -> None:
    mixed = imagined_devices("2 × H100-80GB + A40")
    assert [gpu.gpu.name for gpu in mixed.gpus if gpu.gpu] == ["H100-80GB", "H100-80GB", "A40"]
    assert imagined_devices("none").gpus == ()
    assert "2 × H100-80GB with 79.2 GiB free each, 1 × A40" in mixed.words


def test_an_unknown_kind_names_the_kinds() -> None:
    with pytest.raises(WorkshopError, match="'fast' is not one of balanced, balanced_low_0, sequential"):
        accelerate_map("llama-3.1-8b", imagined_devices("1 x A40"), kind="fast")


def test_what_no_device_holds_says_what_would_help() -> None:
    with pytest.raises(WorkshopError, match=r"8 × A40 with 44\.\d GiB free each.*Take a shorter text"):
        fitting_map("gemma-3-12b", imagined_devices("8 x A40"), tokens=131072)


def test_a_gpu_that_is_half_full_is_seen_and_used_in_the_map(stub: Stub) -> None:
    stub.set_faults("gpus 2", f"memory_used {100 * GIB}")
    code = (
        "from workshop_utils.parallel.big_model.devices import devices_here as d;"
        "found = d(); print(*[gpu.free_bytes for gpu in found.gpus], found.gpus[0].label, sep='|')"
    )
    first, second, label = stub.run_python(code).split("|")
    assert first == second
    assert 38 * GIB < int(first) < 41 * GIB  # of the 141 GiB that the stub's H200s report
    assert "100." in label
    assert "in use" in label


def test_the_constants_of_time_are_those_of_the_recorded_runs() -> None:
    rows = load_measurements(REFERENCES)

    def ms_of(wanted: dict[str, object]) -> tuple[float, int]:
        short = [r for r in rows if wanted.items() <= r.settings.items() and "tokens_per_s" in r.values]
        (row,) = [row for row in short if row.settings["ranks"] == 1 or wanted["strategy"] == "layers"]
        depth = len(find_architecture(str(row.settings["model"])).layers)
        return 1000 / row.values["tokens_per_s"].value, depth

    layer, hook = speeds()["layer_ms"], speeds()["hook_ms"]
    each = [ms / depth for ms, depth in map(ms_of, layer["from"])]
    assert [min(each), max(each)] == pytest.approx([layer["lowest"], layer["highest"]], abs=0.005)
    assert layer["value"] == pytest.approx(sum(each) / 2, abs=0.01)
    (split, depth), (alone, _) = map(ms_of, hook["from"])
    assert hook["value"] == pytest.approx((split - alone) / depth, abs=0.005)


def test_expected_times_add_up_and_say_how_sure_they_are() -> None:
    devices = imagined_devices("2 x H100-80GB")
    fit = fitting_map("mistral-small-24b", devices, tokens=4096)
    alone = expected_tpot("mistral-small-24b", fit.placement, fit.devices, tokens=4096)
    assert (fit.gpus, alone.certainty) == (1, "measured")
    split = accelerate_map("mistral-small-24b", devices)
    both = expected_tpot("mistral-small-24b", split, devices, tokens=4096)
    assert both.ms > alone.ms  # two GPUs, and slower
    assert both.ms == pytest.approx(1000 / 17.1, rel=0.05)  # recorded: 17.1 tokens/s
    offloaded = accelerate_map("llama-3.1-70b", imagined_devices("1 x A40"))
    slow = expected_tpot("llama-3.1-70b", offloaded, imagined_devices("1 x A40"), tokens=4096)
    assert slow.certainty == "assumed"
    assert {part.name for part in slow.parts} >= {"copies from host memory", "reading from the disk"}


@pytest.mark.parametrize(
    ("model", "text", "tokens", "batch", "choice", "words"),
    [
        ("smollm2-135m", "none", 512, 1, "cpu", "no GPU"),
        ("llama-3.1-8b", "1 x A40", 4096, 1, "one_gpu", "ask for no more"),
        ("llama-3.1-8b", "2 x H100-80GB", 4096, 1, "one_gpu", "would only be slower"),
        ("llama-3.1-8b", "2 x H100-80GB", 4096, 8, "data_parallel", "each of the 2 GPUs holds"),
        ("smollm2-360m", "2 x RTX-2080Ti", 8192, 20, "data_parallel", "its 10 prompts"),
        ("llama-3.1-70b", "4 x A40", 4096, 1, "tensor_parallel", "4 GPUs"),
        ("olmo-2-13b", "3 x RTX-2080Ti", 1024, 1, "layer_split", "one GPU works at a time"),
        ("llama-3.1-70b", "1 x A40", 4096, 1, "quantise", "nf4"),
        ("mixtral-8x7b", "2 x A40", 4096, 1, "offload", "copied for every token"),
        ("llama-3.1-70b", "none", 4096, 1, "offload", "GB would lie on the disk and"),
        ("gemma-3-12b", "2 x A40", 131072, 1, "does_not_fit", "Take a shorter text"),
    ],
)
def test_the_advice_says_what_to_do_with_its_cost(
    model: str, text: str, tokens: int, batch: int, choice: str, words: str
) -> None:
    assert choice in CHOICES
    advice = advise(model, imagined_devices(text), tokens=tokens, batch=batch)
    assert advice.choice == choice, advice.sentence
    assert words in advice.sentence
    assert (advice.expected is None) == (choice == "does_not_fit")


def test_tensor_parallel_takes_more_gpus_where_so_many_as_hold_it_do_not_divide_its_heads() -> None:
    advice = advise("llama-3.1-70b", imagined_devices("4 x H100-80GB"), tokens=8192, batch=8)
    assert advice.choice == "tensor_parallel"
    assert "over 4 GPUs, as 3 do not fit the 64 attention heads (vLLM" in advice.sentence
    assert "device_map over 3 GPUs" in advice.sentence
    # Four of the mixed GPUs may be asked for only what the smallest of them holds.
    mixed = advise("llama-3.1-70b", imagined_devices("3 x H100-80GB + 1 x T4"), tokens=8192, batch=8)
    assert mixed.choice == "layer_split"


def test_what_tensor_parallel_would_gain_on_spare_gpus_is_as_recorded() -> None:
    advice = advise("mistral-small-24b", imagined_devices("2 x H200"), tokens=4096)
    assert advice.expected and f"{advice.expected.ms:.0f} ms a token in transformers' eager generate()" in (
        advice.sentence
    )
    found = re.search(
        r"; a device_map over the other GPU too would only be slower, while tensor parallel over 2 \(this "
        r"workshop's runner, vLLM\) takes about ([\d.]+) ms a token\.$",
        advice.sentence,
    )
    assert found, advice.sentence
    rows = load_measurements(REFERENCES.with_name("two_h200_workshop.json"))
    wanted = {"model": "mistral-small-24b", "strategy": "tensor", "batch": 1, "tokens": 4096}
    (row,) = [row for row in rows if wanted.items() <= row.settings.items()]
    assert float(found[1]) == pytest.approx(row.values["tpot_ms"].value, rel=0.2)
    # Where bytes decide, every program is as slow; a step of a tiny model is no question of bytes.
    assert "eager" not in advise("llama-3.1-8b", imagined_devices("1 x L4"), tokens=4096).sentence
    tiny = advise("smollm2-135m", imagined_devices("2 x H200"), tokens=512)
    assert tiny.sentence.endswith("a device_map over the other GPU too would only be slower.")


@pytest.mark.parametrize(
    ("model", "text", "batch", "words"),
    [
        (
            "gemma-3-27b",
            "2 x H100-80GB + 1 x A40",
            4,
            "2 of the 3 GPUs (numbers 0, 1) holds # its 2 prompts,",
        ),
        (
            "gemma-3-27b",
            "1 x A40 + 2 x H100-80GB",
            4,
            "2 of the 3 GPUs (numbers 1, 2) holds # its 2 prompts,",
        ),
        ("llama-3.1-8b", "8 x H200", 3, "3 of the 8 GPUs (numbers 0, 1, 2) holds # its 1 prompt,"),
        ("llama-3.1-8b", "8 x H200", 9, "the 8 GPUs holds # up to 2 prompts,"),
    ],
)
def test_every_gpu_that_holds_a_replica_and_has_a_prompt_gets_one(
    model: str, text: str, batch: int, words: str
) -> None:
    advice = advise(model, imagined_devices(text), tokens=8192, batch=batch)
    assert advice.choice == "data_parallel"
    assert words.replace("#", "the model with the cache of") in advice.sentence


def test_bfloat16_comes_before_4_bits() -> None:
    devices = imagined_devices("1 x L4")
    advice = advise("llama-3.1-8b", devices, tokens=4096, dtype="float32")
    same = advise("llama-3.1-8b", devices, tokens=4096)
    assert advice.choice == "half_precision"
    assert advice.sentence == f"Load the weights in bfloat16, as float32 does not fit. {same.sentence}"
    assert (advice.fit, advice.expected) == (same.fit, same.expected)
    for dtype in ("float32", "bfloat16"):
        advice = advise("llama-3.1-70b", imagined_devices("1 x A40"), tokens=4096, dtype=dtype)
        assert advice.choice == "quantise"
        assert f"; in {dtype} " in advice.sentence
        assert "full precision" not in advice.sentence


@pytest.mark.parametrize(
    ("text", "tokens", "words", "main_part"),
    [
        (
            "1 x A40",
            4096,
            "one GPU holds them with the cache, at least",
            "reading weights and cache on the GPUs",
        ),
        ("3 x RTX-3090", 4096, "2 GPUs hold them with the cache, at least", "launching the layers' kernels"),
    ],
)
def test_4_bits_have_a_time_of_their_own(text: str, tokens: int, words: str, main_part: str) -> None:
    advice = advise("llama-3.1-70b", imagined_devices(text), tokens=tokens)
    assert advice.choice == "quantise"
    assert f"in nf4 the weights are 42.7 GB and {words} " in advice.sentence
    assert advice.expected
    longest = advice.expected.parts[0]
    assert (longest.name, longest.certainty) == (main_part, "assumed")
    assert len(advice.expected.parts) == (1 if text.startswith("1") else 2)  # the hooks of several GPUs
    # More than the bare reading of the bytes, far less than copying what is offloaded.
    assert 42.7 / 936 * 1000 < advice.expected.ms < 200
    assert f"{float(f'{advice.expected.ms:.2g}'):g} ms a token" in advice.sentence


def test_4_bits_have_a_time_where_nothing_else_fits() -> None:
    devices = imagined_devices("1 x A40", host_gib=1, disk_gb=1)
    advice = advise("llama-3.1-70b", devices, tokens=4096)
    assert advice.choice == "quantise"
    assert advice.expected and advice.fit is None
    assert "would lie" not in advice.sentence


def test_without_a_gpu_one_would_help() -> None:
    assert advise("llama-3.1-70b", imagined_devices("none"), tokens=4096).sentence.endswith(
        "; or take a GPU."
    )
    assert advise("mixtral-8x7b", imagined_devices("2 x A40"), tokens=4096).sentence.endswith(
        "; or take more GPUs."
    )


def test_a_fit_can_be_written_down() -> None:
    fit: Fit = fitting_map("llama-3.1-8b", imagined_devices("2 x RTX-3090"), tokens=4096)
    assert json.loads(json.dumps(dict(fit.placement.modules)))
    assert sum(fit.max_memory[gpu.key] for gpu in fit.devices.gpus) < 2 * 24 * GIB


OUT_OF_MEMORY = (
    "CUDA out of memory. Tried to allocate 1.00 GiB. GPU 1 has a total capacity of 44.40 GiB of which 0.20 "
    "GiB is free. Process 7 has 3.00 GiB memory in use. Including non-PyTorch memory, this process has "
    "41.20 GiB memory in use. Of the allocated memory 40.00 GiB is allocated by PyTorch, and 0.50 "
    "GiB is reserved by PyTorch but unallocated."
)


def test_out_of_memory_in_generation_says_what_the_map_did_not_count() -> None:
    devices = imagined_devices("2 x A40")
    placement = accelerate_map("qwen3-32b", devices)
    sentence = (
        r"GPU 1 \(A40\) ran out of memory: the device map counted its 3\d\.\d GiB of weights, but 32,768 "
        r"tokens × 4 also need 1\d\.\d GiB of KV cache.* it has 44\.\d GiB\. "
        r"Other programs hold 3\.0 GiB of it"
    )
    with (
        pytest.raises(WorkshopError, match=sentence),
        explained_out_of_memory("qwen3-32b", placement, devices, tokens=32768, batch=4),
    ):
        raise torch.OutOfMemoryError(OUT_OF_MEMORY)
    with (
        pytest.raises(ZeroDivisionError),
        explained_out_of_memory("qwen3-32b", placement, devices, tokens=32768),
    ):
        _ = 1 / 0
