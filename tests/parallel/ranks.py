"""What every rank does in ``test_ranks.py``: each family and layout against the transformers model of itself.

``torchrun ranks.py FOLDER FAMILY:PIPELINE:TENSOR:MICRO …``; rank 0 writes FOLDER/results.json.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from workshop_utils.parallel.generate import generate
from workshop_utils.parallel.layout import Layout
from workshop_utils.parallel.load import load_decoder
from workshop_utils.parallel.pipeline import stage_layers
from workshop_utils.parallel.plain import load_plain
from workshop_utils.parallel.spec import DecoderSpec, read_spec
from workshop_utils.parallel.weights import CheckpointWeights, TwinWeights, Weights
from workshop_utils.parallel.world import connected

NEW = 64


def main(folder: Path, *cases: str) -> None:
    dist.init_process_group("gloo")
    results = {}
    for case in cases:
        family, pipeline, tensor, micro = case.split(":")
        layout = Layout(1, int(pipeline), int(tensor))
        results[case] = compare(folder / family, layout, int(micro))
    if dist.get_rank() == 0:
        (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    dist.destroy_process_group()


def compare(folder: Path, layout: Layout, micro: int) -> dict[str, Any]:
    """Return the largest difference of logits and whether all tokens are equal; the same on every rank."""
    spec = read_spec(str(folder))
    twin = not list(folder.glob("*.safetensors"))
    prompts = prompts_of(spec)
    world = connected(layout, layout.place(dist.get_rank()), "cpu")
    weights: Weights = TwinWeights("cpu", torch.float32, spec.norm_offset)
    if not twin:
        weights = CheckpointWeights(folder, "cpu", torch.float32)
    parts = stage_layers([1] * len(spec.layers), 1, layout.pipeline)
    decoder = load_decoder(
        spec, weights, layers=parts[world.place.stage], tensor=world.tensor,
        room=max(map(len, prompts)) + NEW, device="cpu", dtype=torch.float32,
    )  # fmt: skip
    made = generate(decoder, prompts, NEW, link=world.link, micro_batches=micro, keep_logits=True)
    mine = {"difference": 0.0, "equal": True}
    if world.link.last or world.link.first:
        logits = reference(spec, prompts, made.tokens, twin)
        mine["equal"] = logits.argmax(dim=-1).tolist() == made.tokens
        mine["different_tokens"] = len({token for row in made.tokens for token in row})
        if made.logits is not None:
            mine["difference"] = float((made.logits - logits).abs().max())
    everyone: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, mine)
    return {
        "difference": max(one["difference"] for one in everyone),
        "equal": all(one["equal"] for one in everyone),
        "different_tokens": max(one.get("different_tokens", 0) for one in everyone),
    }


def prompts_of(spec: DecoderSpec) -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(3, spec.vocabulary, (4, 9), generator=generator).tolist()


@torch.inference_mode()
def reference(
    spec: DecoderSpec, prompts: list[list[int]], tokens: list[list[int]], twin: bool
) -> torch.Tensor:
    """Return transformers' logits for every new token, (batch, new, vocabulary).

    All at once, after our own tokens: where its likeliest token is ours at every place, its greedy answer is
    ours, token by token.
    """
    model = load_plain(spec, twin=twin, device="cpu", dtype=torch.float32)
    ids = torch.tensor([[*prompt, *row] for prompt, row in zip(prompts, tokens, strict=True)])
    return model(ids).logits[:, len(prompts[0]) - 1 : -1].float()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
