"""``workshop estimate MODEL``: the terms of the memory that a model needs, beside the GPUs that hold it."""

import argparse
import json
import sys

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import find_gpu
from workshop_utils.memory.estimate import estimate
from workshop_utils.memory.estimate_text import estimate_text
from workshop_utils.memory.precisions import KV_BITS, PRECISIONS
from workshop_utils.memory.workload import NEW_TOKENS, engine_names
from workshop_utils.models.find import find_architecture

EPILOG = """examples:
  workshop estimate gemma-3-27b --tokens 131072
  workshop estimate google/gemma-3-4b-it --tokens 32768 --batch 4 --dtype nf4 --gpu A100-40GB
  workshop estimate llama-3.1-70b --tokens 8192 --tp 2 --gpu h100-80gb
  workshop estimate qwen3-32b --engine vllm --engine-version 0.26 --tokens 32768 --gpu h100-80gb
  workshop estimate deepseek-v3 --engine vllm --dtype fp8 --dp 8 --ep --gpu h200
  workshop estimate ./my-model/config.json --json
  workshop estimate llama-3.1-8b --tokens 8192 --to-panel

Sizes of the model are decimal GB (10^9 bytes), memory of GPUs is GiB (2^30 bytes). --json prints bytes:
  {"model", "parameters", "tokens", "batch", "dtype", "kv_dtype", "engine", "attention", "tensor_parallel",
   "pipeline_parallel", "data_parallel", "expert_parallel", "new_tokens", "cache", "prefill_chunk", "padded",
   "gpu",
   "per_gpu": [{"rank", "terms": [{"name", "kind", "bytes", "formula", "source", "certainty"}], "peak_bytes",
   "process_bytes", "prefill_peak_bytes", "decode_peak_bytes"}], "weights_bytes", "kv_cache_bytes",
   "peak_bytes", "process_bytes", "fits", "lower_bound", "not_counted", "notes"}
peak_bytes predicts torch.cuda.max_memory_allocated(), process_bytes what NVML shows for the process.
--engine vllm adds "vllm": {"kv_pool_bytes", "kv_cache_tokens", "max_concurrency", "activation_bytes",
"non_torch_bytes", "cuda_graph_bytes"} of the rank that limits; --engine accelerate adds "accelerate":
{"gpu_layers", "cpu_layers", "disk_layers", "cpu_bytes", "disk_bytes"}."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``workshop estimate``."""
    parser.epilog = EPILOG
    parser.add_argument(
        "model", metavar="MODEL", help="catalogue name, Hugging Face id, model folder or config.json"
    )
    add_text_options(parser)
    add_engine_options(parser)
    parser.add_argument("--gpu", metavar="NAME", help="the GPU type, for example A100-80GB")
    parser.add_argument("--json", action="store_true", help="print one JSON object, sizes in bytes")
    parser.add_argument(
        "--to-panel",
        action="store_true",
        help="draw it in JupyterLab's GPU panel, beside what is really used",
    )


def add_text_options(parser: argparse.ArgumentParser) -> None:
    """Add what is generated, and in which precision."""
    group = parser.add_argument_group("what is generated")
    add_number(group, "--tokens", "prompt and answer of one sequence (default 4096)", 4096)
    add_number(group, "--batch", "sequences at a time (default 1)", 1)
    add_number(group, "--new-tokens", f"of these, tokens of the answer (default {NEW_TOKENS})")
    group.add_argument(
        "--dtype", default="bfloat16", help=f"the weights: {', '.join(PRECISIONS)} (default bfloat16)"
    )
    group.add_argument(
        "--kv-dtype", help=f"the KV cache: {', '.join(KV_BITS)} (default: as the weights, or bfloat16)"
    )
    group.add_argument("--padded", action="store_true", help="prompts of a batch have unequal lengths")


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add what runs the model, and how it is split."""
    group = parser.add_argument_group("engine and layout")
    group.add_argument(
        "--engine", default="transformers", help=f"{', '.join(engine_names())} (default transformers)"
    )
    group.add_argument("--attention", help="sdpa, eager or flash_attention_2 (default: the engine's own)")
    group.add_argument("--cache", help="dynamic or static KV cache of transformers (default dynamic)")
    add_number(group, "--prefill-chunk", "prompt tokens computed at a time (default all)")
    add_number(group, "--tp", "tensor parallel size (default 1)", 1)
    add_number(group, "--pp", "pipeline parallel size, or GPUs of --engine accelerate (default 1)", 1)
    add_number(group, "--dp", "data parallel size: replicas that share the batch (default 1)", 1)
    group.add_argument(
        "--ep",
        action="store_true",
        help="expert parallel in vLLM: whole experts, spread over all tensor and data parallel ranks",
    )
    group.add_argument(
        "--cpu-memory", type=float, metavar="GIB", help="host memory for --engine accelerate (default 64)"
    )
    group = parser.add_argument_group("vLLM (defaults by version and GPU)")
    group.add_argument("--engine-version", metavar="VERSION", help="for example 0.26")
    group.add_argument("--gpu-memory-utilization", type=float, metavar="SHARE", help="for example 0.95")
    add_number(group, "--max-num-batched-tokens", "tokens of a batch")
    add_number(group, "--max-num-seqs", "sequences of a batch")


def add_number(group: argparse._ArgumentGroup, name: str, text: str, default: int | None = None) -> None:
    """Add an option that takes a whole number."""
    group.add_argument(name, type=whole_number, default=default, metavar="N", help=text)


def whole_number(text: str) -> int:
    """Return the number; argparse turns the error into its message. 131_072 and 131,072 are the same."""
    try:
        return int(text.replace(",", ""))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a whole number; write it out, for example 131072 for 128K"
        ) from None


def run(arguments: argparse.Namespace) -> int:
    """Print the estimate; WorkshopError for bad input."""
    gpu = find_gpu(arguments.gpu) if arguments.gpu is not None else None
    architecture = find_architecture(arguments.model)
    most = architecture.max_positions
    if most and arguments.tokens > most:
        raise WorkshopError(
            f"tokens {arguments.tokens:,} are more than the {most:,} positions of {architecture.name}; give "
            f"at most {most}, or a copy of its config.json with a larger max_position_embeddings."
        )
    result = estimate(
        architecture,
        tokens=arguments.tokens,
        batch=arguments.batch,
        dtype=arguments.dtype,
        kv_dtype=arguments.kv_dtype,
        engine=arguments.engine,
        attention=arguments.attention,
        gpu=gpu,
        tensor_parallel=arguments.tp,
        pipeline_parallel=arguments.pp,
        data_parallel=arguments.dp,
        expert_parallel=arguments.ep,
        new_tokens=arguments.new_tokens,
        cache=arguments.cache,
        prefill_chunk=arguments.prefill_chunk,
        padded=arguments.padded,
        cpu_memory_gib=arguments.cpu_memory,
        engine_version=arguments.engine_version,
        gpu_memory_utilization=arguments.gpu_memory_utilization,
        max_num_batched_tokens=arguments.max_num_batched_tokens,
        max_num_seqs=arguments.max_num_seqs,
    )
    print(json.dumps(result.as_json(), indent=2) if arguments.json else estimate_text(architecture, result))
    if arguments.to_panel:
        from workshop_utils.memory.to_panel import show_in_panel

        show_in_panel(result)
        print("The panel of JupyterLab on this machine shows it within seconds.", file=sys.stderr)
    return 0
