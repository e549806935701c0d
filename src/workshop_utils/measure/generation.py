"""Run a real model so that its memory can be measured: warm up, touch, generate."""

from typing import Any

from tqdm.auto import tqdm

from workshop_utils.models.quiet import quiet_torchao

# Two layers of the small model's widths: the libraries, threads and buffers that a first long prompt leaves
# behind, and on a GPU the CUDA context, are then there before anything is measured.
WARM_UP_MODEL = {
    "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 2, "num_attention_heads": 9,
    "num_key_value_heads": 3, "vocab_size": 512, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2,
}  # fmt: skip
WARM_UP_BATCH, WARM_UP_TOKENS = 8, 512


def device_here() -> str:
    """Return ``cuda`` where torch can use a GPU, else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def warm_up() -> None:
    """Load everything that is not the model (libraries, threads, CUDA context) by running a small one."""
    quiet_torchao()
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(LlamaConfig(**WARM_UP_MODEL)).to(device_here(), torch.bfloat16)
    ids = torch.ones((WARM_UP_BATCH, WARM_UP_TOKENS), dtype=torch.long, device=device_here())
    generate(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)}, 4, title="warm-up")


def touch(model: Any) -> None:
    """Run one short forward pass.

    safetensors maps the file into memory; the kernel counts a page as resident once it has been read.
    """
    import torch

    ids = torch.ones((1, 2), dtype=torch.long, device=model.device)
    with torch.inference_mode():
        model(ids)


def generate(model: Any, inputs: Any, new_tokens: int, *, title: str = "prefill, then decode") -> Any:
    """Generate exactly ``new_tokens`` for each row of ``inputs``, greedily, with a progress bar.

    Returns transformers' output with ``sequences`` (batch, prompt + new_tokens) and ``past_key_values``: the
    KV cache lives as long as the answer does. The last token is never fed back, so it is not cached.
    """
    import torch

    with tqdm(total=new_tokens, desc=title, unit="token") as bar, torch.inference_mode():

        def count(_ids: Any, _scores: Any, **_: Any) -> bool:
            bar.update()
            return False

        return model.generate(
            **inputs,
            max_new_tokens=new_tokens,
            min_new_tokens=new_tokens,
            do_sample=False,
            return_dict_in_generate=True,
            stopping_criteria=[count],
        )
