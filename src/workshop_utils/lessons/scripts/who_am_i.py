"""Each process says which one it is, and which of eight prompts are its own."""

import torch
from accelerate import PartialState

# Without cpu=True, processes on a CPU do not join: each would think that it is alone.
state = PartialState(cpu=not torch.cuda.is_available())

with state.split_between_processes(list(range(8))) as mine:
    print(f"process {state.process_index} of {state.num_processes}: prompts {mine}\n", end="")

state.destroy_process_group()
