"""CUDA graphs: what the driver keeps for each, and the buffers of attention that all of them share.

Sources: ``capture`` in vllm/v1/worker/gpu/cudagraph_utils.py, ``_capture_cudagraphs`` and
``profile_cudagraph_memory`` in vllm/v1/worker/gpu_model_runner.py.
"""

from workshop_utils.memory.vllm.releases import constants
from workshop_utils.memory.vllm.settings import Settings
from workshop_utils.memory.vllm.stages import Stage
from workshop_utils.models.architecture import Attention
from workshop_utils.units import MIB

# FlashAttention 3 cuts the cache of a sequence into as many parts as this in a graph, and keeps an output in
# float32 for each (flash_attn_max_num_splits_for_cuda_graph, vllm/config/attention.py; out_accum and
# softmax_lse_accum in flash-attention's hopper/flash_api.cpp).
SPLITS = 32
# The GPUs that vLLM takes it for (get_flash_attn_version, vllm/v1/attention/backends/fa_utils.py).
FLASH_ATTENTION_3 = "9.0"


def graph_bytes(stage: Stage, settings: Settings) -> int:
    """Return the CUDA graphs of one rank: what is counted, and a fitted rest of workspaces and pools."""
    rest = "graph_rest_newer_mib" if settings.second_runner else "graph_rest_mib"
    size: float = constants()["fitted"][rest] * MIB
    return counted_bytes(stage, settings) + round(size)


def counted_bytes(stage: Stage, settings: Settings) -> int:
    """Return what a version that profiles graphs finds: the buffers of the first and a share for each."""
    each: float = constants()["fitted"]["graph_layer_mib"] * MIB
    return parts_bytes(stage, settings) + round(len(settings.graph_sizes) * len(stage.layers) * each)


def parts_bytes(stage: Stage, settings: Settings) -> int:
    """Return the outputs of attention for each part of the cache, at the largest number of sequences."""
    if settings.gpu.compute_capability != FLASH_ATTENTION_3:
        return 0
    values = 0
    for layer in set(stage.layers):
        mixer = layer.attention
        if isinstance(mixer, Attention):
            heads = mixer.heads // stage.ranks
            # And one number for each head, the logarithm of a sum.
            values = max(values, heads * ((mixer.value_dim or mixer.head_dim) + 1))
    sequences = min(max(settings.graph_sizes, default=0), settings.sequences)
    return SPLITS * sequences * values * 4
