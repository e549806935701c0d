"""``workshop read-log [LOG]``: a log of vLLM or a message out of memory, predicted beside actual."""

import argparse
import json
import sys
from pathlib import Path

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import find_gpu
from workshop_utils.memory.estimate_command import whole_number
from workshop_utils.memory.logs.compare import compare
from workshop_utils.memory.logs.comparison_text import comparison_text
from workshop_utils.memory.logs.facts import LogFacts
from workshop_utils.memory.logs.names import model_of
from workshop_utils.memory.logs.question import Choices
from workshop_utils.memory.logs.reading import read_stream

EPILOG = """examples:
  vllm serve Qwen/Qwen3-8B 2>&1 | tee start.log          then:  workshop read-log start.log
  workshop read-log slurm-4711.out --model gemma-3-27b --tokens 32768 --batch 4
  python generate.py 2>&1 | workshop read-log --model ./my-model --tokens 16384 --json

It reads vLLM's start-up lines (0.6 to 0.33) and torch's "CUDA out of memory. Tried to allocate …" (1.x to
2.x), with whatever stands around them. Nothing of it is kept or sent anywhere. --json prints, sizes in bytes:
  {"source", "engine", "outcome", "gpu_bytes", "setup", "ranks", "pool", "refusal", "oom", "question",
   "rows": [{"name", "unit", "predicted", "actual", "at_least", "error_percent"}], "missing", "assumed",
   "unpredicted", "explanation", "advice": [{"option", "value", "sentence"}]}
What the log does not state is left out of setup, ranks, pool, refusal and oom."""
# option, type or None for text, name of the value, help
OPTIONS = (
    ("--model", None, "MODEL", "the model that ran: name, Hugging Face id, folder or config.json"),
    ("--tokens", whole_number, "N", "prompt and answer of one sequence"),
    ("--batch", whole_number, "N", "sequences at a time, for transformers (default 1)"),
    ("--dtype", None, "NAME", "precision of the weights"),
    ("--kv-dtype", None, "NAME", "precision of the KV cache"),
    ("--attention", None, "NAME", "attention implementation, for transformers"),
    ("--tp", whole_number, "N", "tensor parallel size"),
    ("--pp", whole_number, "N", "pipeline parallel size"),
    ("--utilization", float, "SHARE", "vLLM's gpu_memory_utilization, from 0 to 1"),
    ("--vllm-version", None, "VERSION", "version of vLLM, for example 0.26.0"),
    ("--gpu", None, "NAME", "the GPU type, for example A100-80GB"),
)
# The same options as `workshop estimate` calls them.
ALSO = {"--utilization": "--gpu-memory-utilization", "--vllm-version": "--engine-version"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``workshop read-log``."""
    parser.epilog = EPILOG
    parser.add_argument("log", metavar="LOG", nargs="?", default="-", help="a file, - for standard input")
    for option, kind, metavar, text in OPTIONS:
        names = [name for name in (option, ALSO.get(option)) if name]
        parser.add_argument(*names, type=kind or str, metavar=metavar, help=f"{text}; counts before the log")
    parser.add_argument("--json", action="store_true", help="print one JSON object, sizes in bytes")


def run(arguments: argparse.Namespace) -> int:
    """Print the comparison; WorkshopError for a log without a figure and for bad choices."""
    choices = choices_of(arguments)
    facts = read(arguments.log)
    comparison = compare(facts, model_of(facts, arguments.model), choices)
    if arguments.json:
        print(json.dumps(comparison.as_json(), indent=2))
    else:
        print(comparison_text(comparison))
    return 0


def choices_of(arguments: argparse.Namespace) -> Choices:
    """Return what the reader set against the log; WorkshopError for a share out of range."""
    share = arguments.utilization
    if share is not None and not 0 < share <= 1:
        raise WorkshopError(f"--utilization {share:g} is out of range; give a share such as 0.9.")
    return Choices(
        tokens=arguments.tokens,
        batch=arguments.batch,
        dtype=arguments.dtype,
        kv_dtype=arguments.kv_dtype,
        attention=arguments.attention,
        tensor_parallel=arguments.tp,
        pipeline_parallel=arguments.pp,
        gpu_memory_utilization=share,
        engine_version=arguments.vllm_version,
        gpu=find_gpu(arguments.gpu) if arguments.gpu is not None else None,
    )


def read(log: str) -> LogFacts:
    """Return the facts of a file, or of standard input for ``-``."""
    if log == "-":
        if sys.stdin.isatty():
            print("Paste the log, then press Ctrl-D on a line of its own.", file=sys.stderr)
        return read_stream(sys.stdin.buffer, "standard input")
    try:
        with Path(log).expanduser().open("rb") as file:
            return read_stream(file, log)
    except OSError as error:
        raise WorkshopError(
            f"{log} cannot be read ({error.strerror}); name a file, or - for standard input."
        ) from None
