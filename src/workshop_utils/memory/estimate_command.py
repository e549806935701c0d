"""``workshop estimate MODEL``: the terms of the memory that a model needs, beside the GPUs that hold it."""

import argparse
import json

from workshop_utils.hardware.catalogue import find_gpu
from workshop_utils.memory.estimate import estimate
from workshop_utils.memory.estimate_text import estimate_text
from workshop_utils.memory.precisions import KV_BITS, PRECISIONS
from workshop_utils.memory.workload import engine_names
from workshop_utils.models.find import find_architecture

EPILOG = """examples:
  workshop estimate gemma-3-27b --tokens 131072
  workshop estimate google/gemma-3-4b-it --tokens 32768 --batch 4 --dtype int4 --gpu A100-40GB
  workshop estimate ./my-model/config.json --json

Sizes of the model are decimal GB (10^9 bytes), memory of GPUs is GiB (2^30 bytes). --json prints bytes:
  {"model", "parameters", "engine", "attention", "tokens", "batch", "dtype", "kv_dtype", "tensor_parallel",
   "pipeline_parallel", "gpu", "per_gpu": [{"rank", "terms": [{"name", "kind", "bytes", "formula", "source",
   "certainty"}], "peak_bytes", "process_bytes"}], "weights_bytes", "kv_cache_bytes", "peak_bytes",
   "process_bytes", "lower_bound", "not_counted", "notes"}
peak_bytes predicts torch.cuda.max_memory_allocated(), process_bytes what NVML shows for the process."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``workshop estimate``."""
    parser.epilog = EPILOG
    parser.add_argument(
        "model", metavar="MODEL", help="catalogue name, Hugging Face id, model folder or config.json"
    )
    parser.add_argument(
        "--tokens",
        type=whole_number,
        default=4096,
        metavar="N",
        help="prompt and answer of one sequence (default 4096)",
    )
    parser.add_argument(
        "--batch", type=whole_number, default=1, metavar="N", help="sequences at a time (default 1)"
    )
    parser.add_argument(
        "--dtype",
        default="bfloat16",
        help=f"precision of the weights: {', '.join(PRECISIONS)} (default bfloat16)",
    )
    parser.add_argument(
        "--kv-dtype",
        help=f"precision of the KV cache: {', '.join(KV_BITS)} (default: as the weights, or bfloat16)",
    )
    parser.add_argument(
        "--engine", default="transformers", help=f"{', '.join(engine_names())} (default transformers)"
    )
    parser.add_argument("--attention", default="sdpa", help="attention implementation (default sdpa)")
    parser.add_argument("--tp", type=int, default=1, metavar="N", help="tensor parallel size (default 1)")
    parser.add_argument("--pp", type=int, default=1, metavar="N", help="pipeline parallel size (default 1)")
    parser.add_argument(
        "--gpu", metavar="NAME", help="compare with this GPU type only, for example A100-80GB"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, sizes in bytes")


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
    result = estimate(
        architecture,
        tokens=arguments.tokens,
        batch=arguments.batch,
        dtype=arguments.dtype,
        kv_dtype=arguments.kv_dtype,
        engine=arguments.engine,
        attention=arguments.attention,
        tensor_parallel=arguments.tp,
        pipeline_parallel=arguments.pp,
        gpu=gpu,
    )
    print(json.dumps(result.as_json(), indent=2) if arguments.json else estimate_text(architecture, result))
    return 0
