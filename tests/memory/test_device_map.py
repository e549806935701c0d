"""Our map against the one that Accelerate itself makes of the same model for the same memory."""

from collections import Counter

import pytest
from accelerate.utils import get_balanced_memory, infer_auto_device_map

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import find_gpu
from workshop_utils.measure.shape_twin import build_skeleton
from workshop_utils.measure.stages import decoder_layers
from workshop_utils.memory.device_map import KEPT_SHARE, device_map
from workshop_utils.memory.estimate import estimate
from workshop_utils.models.find import find_architecture
from workshop_utils.units import GIB


def accelerate_layers(model: str, gpus: int, gpu_bytes: int, cpu_bytes: int) -> tuple[list[int], int, int]:
    """Return the layers on each GPU, on the host and on the disk, as ``device_map="auto"`` has them."""
    skeleton = build_skeleton(model)
    free = int(gpu_bytes * KEPT_SHARE) if gpus == 1 else gpu_bytes
    memory = {**dict.fromkeys(range(gpus), free), "cpu": int(cpu_bytes * KEPT_SHARE)}
    classes = skeleton._no_split_modules
    limits = get_balanced_memory(skeleton, max_memory=memory, no_split_module_classes=list(classes))
    found = infer_auto_device_map(skeleton, max_memory=limits, no_split_module_classes=list(classes))
    depth = skeleton.config.get_text_config().num_hidden_layers
    homes = Counter()
    for number in range(depth):
        names = [name for name in found if f".{number}." in f"{name}." and "layers" in name]
        homes[found[names[0]] if names else next(iter(found.values()))] += 1
    return [homes[gpu] for gpu in range(gpus)], homes["cpu"], homes["disk"]


@pytest.mark.parametrize(
    ("model", "gpus", "gpu_gib", "cpu_gib"),
    [
        ("llama-3.1-8b", 1, 79, 64), ("llama-3.1-8b", 1, 11, 64), ("llama-3.1-8b", 2, 79, 64),
        ("llama-3.1-8b", 4, 5, 8), ("llama-3.1-70b", 2, 79, 64), ("llama-3.1-70b", 4, 44, 64),
        ("qwen3-32b", 2, 23, 100), ("mixtral-8x7b", 4, 23, 32), ("qwen3-14b", 8, 10, 64),
    ],
)  # fmt: skip
def test_layers_stand_within_one_of_where_accelerate_puts_them(
    model: str, gpus: int, gpu_gib: int, cpu_gib: int
) -> None:
    ours = device_map(find_architecture(model), "bfloat16", gpus, gpu_gib * GIB, cpu_gib * GIB)
    layers, cpu, disk = accelerate_layers(model, gpus, gpu_gib * GIB, cpu_gib * GIB)
    assert all(abs(mine - theirs) <= 1 for mine, theirs in zip(ours.gpu_layers, layers, strict=True)), layers
    assert abs(ours.cpu_layers - cpu) <= 1
    assert abs(ours.disk_layers - disk) <= 1


def test_every_layer_stands_somewhere_and_bytes_add_up() -> None:
    architecture = find_architecture("llama-3.1-70b")
    found = device_map(architecture, "bfloat16", 1, 40 * GIB, 64 * GIB)
    assert sum(found.gpu_layers) + found.cpu_layers + found.disk_layers == len(architecture.layers)
    assert found.cpu_bytes <= 64 * GIB * KEPT_SHARE
    assert found.moved_bytes > 0


def test_an_estimate_says_what_is_offloaded_and_holds_the_moved_layer() -> None:
    gpu = find_gpu("A100-40GB")
    result = estimate(
        find_architecture("llama-3.1-70b"), tokens=4096, engine="accelerate", gpu=gpu, cpu_memory_gib=64.0
    )
    assert result.fits(gpu)
    assert any("many times slower" in note for note in result.notes)
    assert any(term.name == "one offloaded module" for term in result.per_gpu[0].terms)
    elsewhere = result.figures["cpu_layers"] + result.figures["disk_layers"]
    assert elsewhere + sum(result.figures["gpu_layers"]) == 80


@pytest.mark.parametrize("model", ["llama-3.1-70b", "mixtral-8x7b", "gemma-3-12b", "qwen3-30b-a3b"])
def test_the_largest_offloaded_module_is_the_skeletons(model: str) -> None:
    free = 8 * GIB
    ours = device_map(find_architecture(model), "bfloat16", 1, free, 400 * GIB)
    skeleton = build_skeleton(model)
    layers = decoder_layers(skeleton)[1]
    away = [layers[number] for number in range(ours.gpu_layers[0], len(layers))]
    if not skeleton.config.get_text_config().tie_word_embeddings:
        away.append(skeleton.get_output_embeddings())
    own = [module.parameters(recurse=False) for part in away for module in part.modules()]
    largest = max(sum(parameter.nbytes for parameter in held) for held in own)
    assert ours.moved_bytes == pytest.approx(largest, rel=1e-3)


def test_tensor_parallel_is_refused_with_the_way_out() -> None:
    with pytest.raises(WorkshopError, match="give the GPUs with --pp"):
        estimate(find_architecture("llama-3.1-8b"), tokens=64, engine="accelerate", tensor_parallel=2)
