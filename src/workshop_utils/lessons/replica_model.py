"""What a replica of notebook 04 is made of: the small real model in transformers, and its answers."""

import os
import time
from collections.abc import Sequence
from typing import Any

from workshop_utils.models.quiet import quiet_torchao
from workshop_utils.models.small_model import small_model_folder

NEW_TOKENS = 12
# Of different lengths, so that they are padded as real ones are: other kernels run then.
WARM_UP_LENGTHS = (40, 38, 36, 34)


def load_model() -> Any:
    """Return the small model on this rank's GPU in bfloat16; on a CPU in float32, which runs faster there."""
    quiet_torchao()
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    # cuDNN's attention plans each new length for some 35 ms: beside answers this short, all that one would
    # measure (recorded/new_lengths_one_h200.json).
    torch.backends.cuda.enable_cudnn_sdp(False)
    on_gpu = torch.cuda.is_available()
    device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if on_gpu else "cpu"
    dtype = torch.bfloat16 if on_gpu else torch.float32
    return AutoModelForCausalLM.from_pretrained(small_model_folder(), dtype=dtype).to(device)


def answer(model: Any, prompts: Sequence[Sequence[int]], new_tokens: int = NEW_TOKENS) -> list[list[int]]:
    """Return ``new_tokens`` tokens for each prompt of token ids, greedily.

    The prompts are padded in front to the longest. Every answer has the same length, so that each costs the
    same.
    """
    import torch

    longest, padding = max(map(len, prompts)), model.config.pad_token_id
    ids = torch.tensor([[padding] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
    real = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    made = model.generate(
        ids.to(model.device), attention_mask=real.to(model.device), max_new_tokens=new_tokens,
        min_new_tokens=new_tokens, do_sample=False,
    )  # fmt: skip
    tokens: list[list[int]] = made[:, longest:].tolist()
    return tokens


def warm_up(model: Any) -> None:
    """Answer once for nothing: what happens only the first time must not be measured."""
    answer(model, [[1] * length for length in WARM_UP_LENGTHS])


class BusyCores:
    """Counts, from entering to leaving, how many cores this process kept busy on average."""

    cores = 0.0

    def __enter__(self) -> "BusyCores":
        self._wall, self._processor = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        seconds = time.perf_counter() - self._wall
        self.cores = (time.process_time() - self._processor) / seconds if seconds else 0.0
