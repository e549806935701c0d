"""Where a decoder's weights come from: a checkpoint's files, or a shape twin's random values.

Names are those of transformers' text decoder without what stands before them:
``layers.0.self_attn.q_proj.weight``, ``embed_tokens.weight``, ``norm.weight``, ``lm_head.weight``. A rank
asks for the slice that it holds.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from workshop_utils.errors import WorkshopError

# A matrix of this spread keeps hidden states of any depth finite; transformers initialises so too.
TWIN_SPREAD = 0.02
# Norms near one, not at one: a twin would otherwise not show a norm that is applied to the wrong tensor.
TWIN_NORM_SPREAD = 0.1


class Weights(Protocol):
    """Gives tensors by name, whole or in part."""

    def read(self, name: str, shape: tuple[int, ...], *cut: slice) -> Any:
        """Return ``cut`` (a slice a dimension, of the first ones) of the tensor ``name`` of ``shape``.

        Contiguous, as the kernels read it.
        """
        ...


class TwinWeights:
    """Random values that depend on a tensor's name alone: all ranks and layouts have the same model."""

    def __init__(self, device: str, dtype: Any, norm_offset: float = 0.0) -> None:
        self._device, self._dtype, self._norm = device, dtype, 1.0 - norm_offset

    def read(self, name: str, shape: tuple[int, ...], *cut: slice) -> Any:
        """Return a slice of the tensor: it is made whole on the device, and what is not needed goes again."""
        import torch

        generator = torch.Generator(self._device).manual_seed(zlib.crc32(name.encode()))
        whole = torch.empty(shape, device=self._device, dtype=self._dtype)
        if name.endswith("norm.weight"):
            whole.normal_(self._norm, TWIN_NORM_SPREAD, generator=generator)
        else:
            whole.normal_(0.0, TWIN_SPREAD, generator=generator)
        return whole[cut].clone() if cut else whole


class CheckpointWeights:
    """The safetensors files of a model folder; only the bytes that are asked for are read."""

    def __init__(self, folder: Path, device: str, dtype: Any) -> None:
        self._folder, self._device, self._dtype = folder, device, dtype
        self._files = {canonical(name): (file, name) for name, file in names_in(folder).items()}
        self._open: dict[str, Any] = {}

    def read(self, name: str, shape: tuple[int, ...], *cut: slice) -> Any:
        """Return a slice of the tensor; WorkshopError where the checkpoint lacks it or has another shape."""
        if name not in self._files and name.rpartition(".")[0].endswith("experts"):
            return self._stack(name, shape, cut)
        found = self._slice(name)
        if tuple(found.get_shape()) != shape:
            raise WorkshopError(
                f"{name} in {self._folder} is {tuple(found.get_shape())} and config.json says {shape}; the "
                "checkpoint and its config belong to different models."
            )
        return found[cut or (slice(None),)].to(self._device, self._dtype).contiguous()

    def _slice(self, name: str) -> Any:
        from safetensors import SafetensorError, safe_open

        if name not in self._files:
            raise WorkshopError(
                f"the checkpoint {self._folder} has no {name}; it is incomplete, or of a family that its "
                "config.json does not name. Save or download it again."
            )
        file, original = self._files[name]
        try:
            if file not in self._open:
                self._open[file] = safe_open(self._folder / file, framework="pt", device="cpu")
            return self._open[file].get_slice(original)
        except (SafetensorError, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise WorkshopError(
                f"{self._folder / file} cannot be read ({reason}); the checkpoint is half-written. Save or "
                "download it again."
            ) from error

    def _stack(self, name: str, shape: tuple[int, ...], cut: tuple[slice, ...]) -> Any:
        """Return experts that the checkpoint keeps one by one, stacked: gate and up, or down."""
        import torch

        layer = name.partition(".mlp.")[0]
        gate, up, down = expert_names(layer, self._files)
        experts, *rest = cut or (slice(None),)
        parts = []
        for number in range(shape[0])[experts]:
            names = (gate, up) if name.endswith("gate_up_proj") else (down,)
            pieces = [self._slice(pattern.format(number))[:].to(self._dtype) for pattern in names]
            parts.append(torch.cat(pieces)[tuple(rest)] if rest else torch.cat(pieces))
        return torch.stack(parts).to(self._device)


def expert_names(layer: str, known: Mapping[str, object]) -> tuple[str, str, str]:
    """Return the patterns of gate, up and down of one expert, as this checkpoint calls them."""
    experts = f"{layer}.mlp.experts.{{}}."
    if experts.format(0) + "w1.weight" in known:  # Mixtral
        return experts + "w1.weight", experts + "w3.weight", experts + "w2.weight"
    return experts + "gate_proj.weight", experts + "up_proj.weight", experts + "down_proj.weight"


def names_in(folder: Path) -> dict[str, str]:
    """Return the file of each tensor of a model folder; WorkshopError where there is no checkpoint."""
    from safetensors import SafetensorError, safe_open

    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    try:
        if index.is_file():
            return dict(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
        with safe_open(single, framework="pt") as file:
            return dict.fromkeys(file.keys(), single.name)
    except FileNotFoundError as error:
        raise WorkshopError(
            f"{folder} holds no safetensors checkpoint; name a folder that a model was saved in, or add "
            "--twin for random weights of the same shape."
        ) from error
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        raise WorkshopError(
            f"the checkpoint in {folder} cannot be read ({reason}); it is half-written. Save or download it "
            "again."
        ) from error


def canonical(name: str) -> str:
    """Return a tensor's name in the text decoder; those of image towers stay as they are."""
    for prefix in ("model.language_model.", "language_model.model.", "language_model.", "model."):
        if name.startswith(prefix):
            return name.removeprefix(prefix).replace(".block_sparse_moe.", ".mlp.")
    return name
