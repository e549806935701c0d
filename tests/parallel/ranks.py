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
from workshop_utils.parallel.weights import CheckpointWeights, TwinWeights
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
    weights = TwinWeights("cpu", torch.float32, spec.norm_offset) if twin else CheckpointWeights(folder, "cpu", torch.float32)
    parts = stage_layers([1] * len(spec.layers), 1, layout.pipeline)
    decoder = load_decoder(
        spec, weights, layers=parts[world.place.stage], tensor=world.tensor,
        room=max(map(len, prompts)) + NEW, device="cpu", dtype=torch.float32,
    )  # fmt: skip
    made = generate(decoder, prompts, NEW, link=world.link, micro_batches=micro, keep_logits=True)
    mine = {"difference": 0.0, "equal": True}
    if world.link.last or world.link.first:
        logits, tokens = reference(spec, prompts, twin)
        mine["equal"] = made.tokens == tokens
        if made.logits is not None:
            mine["difference"] = float((made.logits - logits).abs().max())
    everyone: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, mine)
    return {
        "difference": max(one["difference"] for one in everyone),
        "equal": all(one["equal"] for one in everyone),
    }


def prompts_of(spec: DecoderSpec) -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(3, spec.vocabulary, (4, 9), generator=generator).tolist()


@torch.inference_mode()
def reference(spec: DecoderSpec, prompts: list[list[int]], twin: bool) -> tuple[torch.Tensor, list[list[int]]]:
    """Return transformers' own greedy tokens and their logits, by its ``generate``."""
    model = load_plain(spec, twin=twin, device="cpu", dtype=torch.float32)
    ids = torch.tensor(prompts)
    made = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, min_new_tokens=NEW, do_sample=False,
        return_dict_in_generate=True, output_logits=True, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    return torch.stack(made.logits, 1).float(), made.sequences[:, ids.shape[1] :].tolist()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
