"""One MLP of SmolLM2: every rank computes with its share of the three matrices."""

import os

import torch
import torch.nn.functional as F

from workshop_utils.measure.socket_bytes import bytes_sent_over_tcp
from workshop_utils.models.small_model import small_model_folder
from workshop_utils.parallel.launch import notes
from workshop_utils.parallel.layout import Layout
from workshop_utils.parallel.tensor import split_mlp
from workshop_utils.parallel.weights import CheckpointWeights
from workshop_utils.parallel.world import join

HIDDEN, INSIDE, TOKENS = 576, 1536, 128
ranks = int(os.environ["WORLD_SIZE"])  # torchrun sets it

with join(Layout(tensor=ranks)) as world:
    weights = CheckpointWeights(small_model_folder(), world.device, torch.float32)
    gate = weights.read("layers.0.mlp.gate_proj.weight", (INSIDE, HIDDEN))
    up = weights.read("layers.0.mlp.up_proj.weight", (INSIDE, HIDDEN))
    down = weights.read("layers.0.mlp.down_proj.weight", (HIDDEN, INSIDE))
    torch.manual_seed(0)
    x = torch.randn(TOKENS, HIDDEN).to(world.device)  # the same on every rank

    alone = (F.silu(x @ gate.T) * (x @ up.T)) @ down.T
    world.tensor.sum(torch.zeros(1, device=world.device))  # the ranks connect
    before = bytes_sent_over_tcp()
    together = split_mlp(x, gate, up, down, world.tensor)
    after = bytes_sent_over_tcp()

    difference = float((together - alone).abs().max())
    print(f"largest value {float(alone.abs().max()):.2f}, largest difference {difference:.0e}")
    counted = None  # between GPUs nothing goes through a socket
    if world.device == "cpu" and before is not None and after is not None:
        counted = after - before
    notes.hand_back({"difference": difference, "bytes_sent": counted})
