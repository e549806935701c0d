"""torch's message out of memory, from 1.x to 2.x, and what its traceback tells."""

from pathlib import Path

import pytest

from workshop_utils.memory.logs.facts import CudaOom
from workshop_utils.memory.logs.reading import read_log

LOGS = Path(__file__).parent / "logs"
MESSAGE = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of "
    "79.19 GiB of which 1.00 GiB is free. Including non-PyTorch memory, this process has 78.19 GiB memory in "
    "use. Of the allocated memory 70.00 GiB is allocated by PyTorch, and 7.50 GiB is reserved by PyTorch but "
    "unallocated."
)


def read(name: str) -> CudaOom:
    return oom_of((LOGS / name).read_text(encoding="utf-8"))


def oom_of(text: str) -> CudaOom:
    oom = read_log(text).oom
    assert oom is not None
    return oom


def gib(figure: float) -> int:
    return round(figure * 2**30)


def mib(figure: float) -> int:
    return round(figure * 2**20)


def test_the_form_in_brackets_before_21() -> None:
    oom = read("torch-1.13-brackets.log")
    assert (oom.tried_bytes, oom.gpu_index, oom.capacity_bytes) == (mib(166), 0, gib(8))
    assert (oom.allocated_bytes, oom.free_bytes) == (gib(6.93), 0)
    assert oom.unallocated_bytes == gib(7.22) - gib(6.93)
    assert (oom.process_bytes, oom.overhead_bytes) == (None, None)


def test_a_process_limit_and_the_mask_that_the_frames_tell() -> None:
    oom = read("torch-1.13-mask.log")
    assert (oom.gpu_index, oom.allowed_bytes, oom.free_bytes) == (3, gib(11.93), mib(515.38))
    assert (oom.allocation.name, oom.allocation.family) == ("attention mask", "llama")


def test_the_misspelt_capacity_of_21() -> None:
    oom = read("torch-2.1-capacty.log")
    assert (oom.tried_bytes, oom.capacity_bytes, oom.free_bytes) == (gib(355.43), gib(79.32), gib(18.06))
    assert (oom.allocated_bytes, oom.unallocated_bytes) == (gib(52.51), gib(8.25))
    assert oom.needed_bytes == gib(52.51) + gib(355.43)
    assert oom.overhead_bytes == gib(61.25) - gib(52.51) - gib(8.25)


def test_in_a_container_the_process_is_listed_as_another() -> None:
    facts = read_log((LOGS / "torch-2.5-container-vllm.log").read_text(encoding="utf-8"))
    assert (facts.source, facts.engine, facts.outcome) == ("vllm", "vllm", "out_of_memory")
    assert facts.oom is not None
    assert (facts.oom.process_bytes, facts.oom.other_bytes) == (gib(79.29), 0)


def test_other_processes_are_added_up() -> None:
    oom = read("torch-2.8-shared-gpu.log")
    assert oom.process_bytes == gib(3.14)
    assert oom.other_processes == 5
    assert oom.other_bytes == gib(29.04) + gib(14.74) + mib(312) + 2 * mib(5.59)


def test_the_first_message_counts_and_ends_before_the_next() -> None:
    second = MESSAGE.replace("GPU 0", "GPU 1").replace("79.19", "39.39")
    without = MESSAGE.split(" Including", maxsplit=1)[0]
    oom = oom_of(f"{without}\n{second}")
    assert (oom.gpu_index, oom.capacity_bytes, oom.allocated_bytes) == (0, gib(79.19), None)


FRAMES = {
    "eager attention scores": (
        'File "/e/lib/transformers/models/gemma3/modeling_gemma3.py", line 300, in eager_attention_forward\n'
        "    attn_weights = torch.matmul(query, key_states.transpose(2, 3)) * scaling"
    ),
    "attention mask": (
        'File "/e/lib/transformers/masking_utils.py", line 400, in sdpa_mask\n'
        "    causal_mask = vmap(mask_function)"
    ),
    "logits": (
        'File "/e/lib/transformers/models/llama/modeling_llama.py", line 480, in forward\n'
        "    logits = self.lm_head(hidden_states[:, slice_indices, :])\n"
        'File "/e/lib/torch/nn/modules/linear.py", line 125, in forward\n    return F.linear(input)'
    ),
    "KV cache, which grows by one token": (
        'File "/e/lib/transformers/cache_utils.py", line 120, in update\n'
        "    self.keys = torch.cat([self.keys, key_states], dim=-2)"
    ),
    "MLP": (
        'File "/e/lib/transformers/models/llama/modeling_llama.py", line 170, in forward\n'
        "    down_proj = self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))\n"
        'File "/e/lib/torch/nn/modules/activation.py", line 400, in forward\n    return F.silu(input)'
    ),
    "weights": (
        'File "/e/lib/transformers/modeling_utils.py", line 4000, in from_pretrained\n    cls(config)\n'
        'File "/e/lib/torch/nn/modules/module.py", line 1300, in convert\n    return t.to(device)'
    ),
    "CUDA graphs": (
        'File "/e/lib/vllm/v1/worker/gpu_model_runner.py", line 6800, in capture_model\n    capture()\n'
        'File "/e/lib/torch/cuda/graphs.py", line 186, in __enter__\n    self.cuda_graph.capture_begin()'
    ),
    "sampler": (
        'File "/e/lib/vllm/v1/worker/gpu_model_runner.py", line 5900, in _dummy_sampler_run\n    sampler(\n'
        'File "/e/lib/vllm/v1/sample/sampler.py", line 90, in forward\n    logits = logits.div_(temperature)'
    ),
    "KV cache pool": (
        'File "/e/lib/vllm/v1/worker/gpu_model_runner.py", line 6900, in _allocate_kv_cache_tensors\n'
        "    tensor = torch.zeros(kv_cache_tensor.size, dtype=torch.int8, device=self.device)"
    ),
    "gradients": (
        'File "/w/train.py", line 12, in <module>\n    loss.backward()\n'
        'File "/e/lib/torch/autograd/__init__.py", line 300, in backward\n    _engine_run_backward('
    ),
    "not told by the traceback": 'File "/w/mine.py", line 3, in main\n    x = torch.empty(n)',
}  # fmt: skip


@pytest.mark.parametrize(("name", "frames"), FRAMES.items(), ids=list(FRAMES))
def test_the_innermost_telling_frame_names_the_allocation(name: str, frames: str) -> None:
    oom = oom_of(f"Traceback (most recent call last):\n  {frames}\n{MESSAGE}")
    assert oom.allocation.name == name


def test_frames_as_ipython_prints_them() -> None:
    text = (
        "File /e/lib/transformers/models/phi3/modeling_phi3.py:90, in eager_attention_forward(module)\n"
        "     89 scores = matmul(query, key_states)\n---> 90 attn_weights = softmax(scores)\n"
    )
    allocation = oom_of(text + MESSAGE).allocation
    assert (allocation.name, allocation.family) == ("eager attention scores", "phi3")
    assert allocation.engine == "transformers"


def test_frames_of_an_earlier_traceback_tell_nothing() -> None:
    earlier = f"Traceback (most recent call last):\n  {FRAMES['logits']}\nValueError: x\n"
    text = f"{earlier}Traceback (most recent call last):\n  {FRAMES['not told by the traceback']}\n{MESSAGE}"
    assert oom_of(text).allocation.kind == "unknown"
