"""Notebook 01's run of the small real model: eight prompts, and its memory side by side."""

from pathlib import Path
from typing import Any

from workshop_utils.errors import WorkshopError
from workshop_utils.lessons.table import Table
from workshop_utils.measure.generation import device_here
from workshop_utils.measure.measurement import Measurement
from workshop_utils.measure.provenance import measured_here
from workshop_utils.measure.watch import MemoryWatch
from workshop_utils.memory.estimate import Estimate

MB = 10**6
# A term of the estimate that the warm-up has taken before anything is watched.
WORKSPACE = "cuBLAS workspace"
# The opening of "Alice's Adventures in Wonderland", Lewis Carroll, 1865: in the public domain.
PASSAGE = Path(__file__).with_name("alice.txt")
PAGE_TASK = "Continue this story."
QUESTIONS = (
    "What is the capital of France?",
    "What is a graphics card?",
    "Write one sentence about rivers.",
    "Name three planets.",
    "Why is the sky blue?",
    "What does a gardener do?",
    "What is a library?",
)
# part -> (its name for a reader, what it is)
PARTS = {
    "weights": ("weights", "every parameter in bfloat16"),
    "kv_cache": ("KV cache", "K and V of every token, in every layer"),
    "activations": ("working memory at the peak", "activations and logits of the prefill, freed afterwards"),
    "peak": ("peak in torch's allocator", "everything alive at the fullest moment"),
    "libraries": ("before the model", "Python, torch, transformers and this notebook"),
    "reserve": ("allocator's reserve", "what torch keeps of the driver's memory beyond its peak"),
    "process": ("CUDA context and driver", "NVML's figure for this GPU less torch's reserve"),
}


def eight_prompts(tokenizer: Any, tokens: int) -> Any:
    """Return ``input_ids`` and ``attention_mask`` (8, tokens): seven questions and a page, left-padded.

    Raises WorkshopError when ``tokens`` cannot hold the page.
    """
    page = f"{PAGE_TASK}\n\n{PASSAGE.read_text(encoding='utf-8')}"
    chats = [[{"role": "user", "content": prompt}] for prompt in (*QUESTIONS, page)]
    texts = tokenizer.apply_chat_template(chats, tokenize=False, add_generation_prompt=True)
    longest = max(len(ids) for ids in tokenizer(texts)["input_ids"])
    if longest > tokens:
        raise WorkshopError(f"{tokens} tokens cannot hold the longest prompt; give {longest} or more.")
    tokenizer.padding_side = "left"
    return tokenizer(texts, padding="max_length", max_length=tokens, return_tensors="pt").to(device_here())


def answers(tokenizer: Any, sequences: Any, prompt_tokens: int) -> Table:
    """Return each prompt with the model's answer; ``sequences`` is (8, prompt + new tokens)."""
    texts = tokenizer.batch_decode(sequences[:, prompt_tokens:], skip_special_tokens=True)
    prompts = (*QUESTIONS, f"{PAGE_TASK} (a page of Alice in Wonderland)")
    rows = [(prompt, " ".join(text.split())) for prompt, text in zip(prompts, texts, strict=True)]
    return Table(("prompt", "answer"), rows, text_columns=2)


def run_measurement(loading: MemoryWatch, generating: MemoryWatch, **settings: Any) -> Measurement:
    """Return what the two watches saw, in bytes, with its provenance; what nothing reports is left out."""
    end = generating.end
    on_gpu = end.reserved_bytes is not None
    parts = {
        "weights": loading.added_bytes,
        "kv_cache": generating.added_bytes,
        "activations": generating.working_bytes,
        "peak": end.peak_bytes if on_gpu and generating.own_peak else None,
        "libraries": None if on_gpu else loading.before.held_bytes,
        "reserve": _difference(end.reserved_bytes, end.peak_bytes) if on_gpu else None,
        "process": _difference(end.driver_bytes, end.reserved_bytes),
    }
    values = {name: size for name, size in parts.items() if size is not None}
    return measured_here(f"the small model: {generating.kind}", values, "notebook 01", settings)


def predicted_parts(predicted: Estimate, measured: Measurement) -> dict[str, int]:
    """Return the predicted bytes of each part; all but weights and cache are predicted for GPUs only."""
    rank = predicted.fullest
    parts = {"weights": predicted.weights_bytes, "kv_cache": predicted.kv_cache_bytes}
    if "peak" in measured.values:
        working = (term for term in rank.needed if term.kind == "activations" and term.name != WORKSPACE)
        parts |= {"activations": sum(term.bytes for term in working), "peak": rank.peak_bytes}
    if "process" in measured.values:
        parts["process"] = rank.bytes_of("process")
    return parts


def comparison_table(predicted: Estimate, measured: Measurement) -> Table:
    """Return predicted beside measured for each part, and for weights + KV cache together."""
    expected = predicted_parts(predicted, measured)
    rows = [
        _row(*PARTS[part], expected.get(part), measured.bytes_of(part))
        for part in PARTS
        if part in measured.values
    ]
    both = measured.bytes_of("weights") + measured.bytes_of("kv_cache")
    rows.insert(
        2, _row("weights + KV cache", "your prediction", expected["weights"] + expected["kv_cache"], both)
    )
    headers = ("part", "what it is", "predicted", "measured", "difference")
    return Table(headers, rows, f"MB (decimal), {measured.label}", text_columns=2)


def _row(name: str, meaning: str, predicted: int | None, measured: int) -> tuple[str, str, str, str, str]:
    if predicted is None:
        return name, meaning, "not predicted", f"{measured / MB:.1f}", ""
    difference = 100 * (measured - predicted) / predicted
    return name, meaning, f"{predicted / MB:.1f}", f"{measured / MB:.1f}", f"{difference:+.1f} %"


def _difference(larger: int | None, smaller: int | None) -> int | None:
    return None if larger is None or smaller is None else larger - smaller
