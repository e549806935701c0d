"""One stage of a pipeline: it holds some layers, runs micro-batches, and hands on what comes out."""

import json
import sys

import torch

from workshop_utils.lessons.stage_model import load_stage
from workshop_utils.lessons.turns import Turns
from workshop_utils.parallel.generate import generate
from workshop_utils.parallel.launch import notes
from workshop_utils.parallel.layout import Layout
from workshop_utils.parallel.world import join

stages, prompt_tokens, new_tokens, runs = json.loads(sys.argv[1])

with join(Layout(pipeline=stages)) as world:  # which stage am I, and how do I reach the others
    stage = load_stage(world.place.stage, stages, room=prompt_tokens + new_tokens, device=world.device)
    generate(stage, [[1] * 4] * 2, 2, link=world.link)  # a warm-up
    for sequences, micro_batches in runs:
        prompts = torch.randint(3, 1000, (sequences, prompt_tokens)).tolist()
        if world.device != "cpu":  # on a GPU, what is new to the process takes many times as long
            generate(stage, prompts, new_tokens, link=world.link, micro_batches=micro_batches, runner=Turns())
        turns = Turns()  # notes when each micro-batch is computed here
        made = generate(
            stage, prompts, new_tokens, link=world.link, micro_batches=micro_batches, runner=turns
        )
        notes.hand_back(
            {"stage": world.place.stage, "sequences": sequences, "micro_batches": micro_batches}
            | {"turns": turns.rows(), "decode_seconds": made.decode_seconds}
            | {"layers": len(stage.layers), "weight_bytes": stage.weight_bytes}
        )
