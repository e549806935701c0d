"""Accelerate's way: every rank gets its share of a list, and the answers are gathered at the end."""

import json
import sys

import torch
from accelerate import PartialState
from accelerate.utils import gather_object

from workshop_utils.lessons.replica_model import answer, load_model
from workshop_utils.parallel.launch import notes

prompts, failing_rank = json.loads(sys.argv[1]), int(sys.argv[2])
# Joins the ranks that torchrun started. Without cpu=True, each rank of a CPU would take all prompts.
state = PartialState(cpu=not torch.cuda.is_available())

with state.split_between_processes(prompts) as mine:
    print(f"{len(mine)} of {len(prompts)} prompts are mine")
    if state.process_index == failing_rank:
        raise RuntimeError("this rank fails, as it was asked to")
    answers = answer(load_model(), mine)

everyone = gather_object(answers)  # waits for all ranks
if state.is_main_process:
    notes.hand_back({"answers": everyone})
state.destroy_process_group()
