"""From what a log calls things to ours: the model, the precision of weights and cache, the GPU."""

import re
from dataclasses import replace
from pathlib import Path

from workshop_utils.errors import WorkshopError
from workshop_utils.hardware.catalogue import Gpu, load_gpus
from workshop_utils.memory.logs.facts import LogFacts
from workshop_utils.models.architecture import Architecture
from workshop_utils.models.catalogue import load_catalogue
from workshop_utils.models.find import find_architecture
from workshop_utils.units import GIB

# Endings of repositories that hold the same architecture, tuned or quantised.
ENDINGS = re.compile(
    r"[-_.](?:instruct|it|chat|base|hf|thinking|fp8(?:[-_]?dynamic|[-_]?block)?|nvfp4|w8a8|w4a16|awq|gptq|gguf|"
    r"int4|int8|4bit|8bit|bnb|quantized|bf16|fp16|\d{4}|v\d(?:\.\d)?)$"
)
# vLLM's names of quantisation methods, where one name is one format.
PRECISION_OF = {
    "fp8": "fp8",
    "mxfp4": "mxfp4",
    "gpt_oss_mxfp4": "mxfp4",
    "awq": "awq-int4-g128",
    "awq_marlin": "awq-int4-g128",
    "gptq": "gptq-int4-g128",
    "gptq_marlin": "gptq-int4-g128",
    "bitsandbytes": "nf4",
}
DTYPES = {"half": "float16", "float": "float32"}
# Two GPUs of one type report totals that differ by less; the next type is further off.
SAME_TYPE = 0.01


def model_of(facts: LogFacts, chosen: str | None) -> Architecture | None:
    """Return the model that a reader chose, else the one that the log names; WorkshopError for the former."""
    if chosen:
        return find_architecture(chosen)
    return find_named(facts.setup.model) if facts.setup.model else None


def find_named(name: str) -> Architecture | None:
    """Return the architecture of a model as a log names it, None where that name is nowhere.

    Also found: an id whose last part is, but for endings such as ``-Instruct`` or ``-AWQ``, that of the
    catalogue. Only a folder with a config.json is read from disk: a log may name any path.
    """
    folder = Path(name).expanduser()
    try:
        readable = (folder / "config.json").is_file()
    except (OSError, ValueError):
        readable = False
    known = next((entry.name for entry in load_catalogue() if name.casefold() in folded(entry.ids)), None)
    alike = next((entry.name for entry in load_catalogue() if stem(name) in map(stem, entry.ids)), None)
    hub_id = name if re.fullmatch(r"[\w.-]+/[\w.-]+", name) else None
    for candidate in (known, name if readable else None, hub_id, alike):
        try:
            if candidate:
                return find_architecture(candidate)
        except WorkshopError:
            continue
    return None


def folded(ids: tuple[str, ...]) -> set[str]:
    return {identity.casefold() for identity in ids}


def stem(name: str) -> str:
    """Return the last part of a model's name without endings: ``qwen3-8b`` of ``Qwen/Qwen3-8B-AWQ``."""
    cached = re.search(r"models--[^/]+--([^/]+)", name)
    last = (cached[1] if cached else name.rstrip("/").rsplit("/", 1)[-1]).casefold()
    last = last.removeprefix("meta-")
    while (shorter := ENDINGS.sub("", last)) != last:
        last = shorter
    return last


def weights_precision(dtype: str | None, quantization: str | None) -> str | None:
    """Return our name of the weights' precision, None where the log's does not settle it."""
    if quantization:
        return PRECISION_OF.get(quantization.casefold())
    return DTYPES.get(dtype, dtype) if dtype else None


def cache_precision(kv_cache_dtype: str | None) -> str | None:
    """Return our name of the KV cache's precision, None for that of the weights."""
    if kv_cache_dtype and kv_cache_dtype.startswith("fp8"):
        return "fp8"
    return DTYPES.get(kv_cache_dtype, kv_cache_dtype) if kv_cache_dtype else None


def gpu_of(total_bytes: int | None, named: Gpu | None) -> Gpu | None:
    """Return the GPU with the memory that the log states: ``named``, else the catalogue's nearest type."""
    if total_bytes is None:
        return named
    total = total_bytes / GIB
    nearest = named or min(load_gpus(), key=lambda gpu: abs(gpu.usable_gib - total))
    same = named is not None or abs(nearest.usable_gib - total) <= SAME_TYPE * total
    name = nearest.name if same else f"a GPU of {total:.1f} GiB"
    return replace(nearest, name=name, usable_gib=total, usable_source="the log", usable_certainty="measured")
