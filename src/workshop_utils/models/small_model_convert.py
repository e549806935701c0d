"""GGUF into the folder that transformers loads fastest: safetensors in bfloat16, tokenizer, configuration."""

import json
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from workshop_utils.errors import WorkshopError
from workshop_utils.models.small_model_source import PackagedModel

PROVENANCE = "provenance.json"
# Counts up whenever ``convert`` writes something else: an older folder is then prepared anew.
FORMAT = 1


def convert(model: PackagedModel, gguf: Path, folder: Path) -> None:
    """Write ``gguf`` into ``folder`` as a model that ``from_pretrained(folder)`` loads without a hub.

    Costs about 20 seconds and 1 GB of memory for 134 M parameters on two cores, most of it in reading
    the vocabulary. Raises ``WorkshopError`` when the parameter count is not the published one.
    """
    from tqdm import tqdm

    with tqdm(total=4, unit="step", desc="Loading torch and transformers") as bar:
        from transformers.utils import logging

        # The library's own short bars would only flicker inside ours.
        shown = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            bar.update()
            bar.set_description("Reading the weights")
            network = load_network(gguf)
            count = network.num_parameters()
            if count != model.parameters:
                raise WorkshopError(
                    f"{model.name} has {count:,} parameters, expected {model.parameters:,}; "
                    "transformers 5.17.0 converts it correctly: install that version."
                )
            bar.update()
            bar.set_description("Reading the tokenizer")
            tokenizer = load_tokenizer(gguf, network.config)
            bar.update()
            bar.set_description("Writing safetensors")
            network.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            bar.update()
        finally:
            if shown:
                logging.enable_progress_bar()


def load_network(gguf: Path) -> Any:
    """Return the causal language model in bfloat16, unpacked, on the CPU."""
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    network = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16, local_files_only=True,
        quantization_config=GgufConfig(dequantize=True),
    )  # fmt: skip
    # GGUF stores these as float32 and with a training run's title.
    network.config.rms_norm_eps = float(f"{network.config.rms_norm_eps:.6g}")
    network.config._name_or_path = ""
    vars(network.config).pop("_model_name_or_path", None)
    return network


def load_tokenizer(gguf: Path, config: Any) -> Any:
    """Return the tokenizer with what transformers 5.17 loses of it: end, padding, length, digits."""
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
    for name in ("bos", "eos", "pad"):
        token_id = getattr(config, f"{name}_token_id")
        setattr(tokenizer, f"{name}_token", tokenizer.convert_ids_to_tokens(token_id))
    tokenizer.model_max_length = config.max_position_embeddings
    # `tokenizer.ggml.pre` is "smollm": one token a digit, then GPT-2's pattern (llama.cpp, llama-vocab.cpp).
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    for leftover in (
        "is_local",
        "local_files_only",
        *(f"{name}_token_id" for name in ("bos", "eos", "pad", "unk")),
    ):
        tokenizer.init_kwargs.pop(leftover, None)
    # A batch of prompts continues at its right end. Cleaning up is for WordPiece and only brings a warning.
    # The attribute holds the value, and the key in init_kwargs makes save_pretrained() write it.
    for name, value in (("padding_side", "left"), ("clean_up_tokenization_spaces", False)):
        tokenizer.init_kwargs[name] = value
        setattr(tokenizer, name, value)
    return tokenizer


def write_provenance(model: PackagedModel, folder: Path) -> None:
    """Note beside the model where it comes from, and the size of every file for ``is_complete``."""
    note = {
        "format": FORMAT,
        "model": model.name,
        "origin": model.origin,
        "source": f"{model.package} {model.version} (Python package index)",
        "source_sha256": model.wheel_sha256,
        "license": "Apache-2.0, see LICENSE",
        "parameters": model.parameters,
        "made": "GGUF weights unpacked to bfloat16",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "versions": {
            name: version(name) for name in ("torch", "transformers", "gguf", "multigpu-llm-workshop")
        },
        "files": {path.name: path.stat().st_size for path in sorted(folder.iterdir())},
    }
    (folder / PROVENANCE).write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")


def is_complete(folder: Path) -> bool:
    """Say whether this version wrote the folder and every file is there in its full size."""
    try:
        note = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
        sizes_now = {name: (folder / name).stat().st_size for name in note["files"]}
        return bool(note["format"] == FORMAT and sizes_now == note["files"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
