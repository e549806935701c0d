"""What was being allocated: the innermost frame of a traceback that tells it.

A frame of torch (a linear layer, a hook) tells nothing; the frame of transformers or vLLM around it does.
"""

import re
from dataclasses import dataclass
from typing import Literal

from workshop_utils.memory.logs.facts import Allocation

# Python: File "…/cache_utils.py", line 12, in update. IPython: File …/cache_utils.py:12, in update(…).
FRAME = re.compile(
    r"File (?:\"(?P<quoted>[^\"\n]{1,400})\", line \d+, in (?P<function>[^\n]{1,120})"
    r"|(?P<bare>[^\s\"]{1,400}):\d+, in (?P<called>[^\n]{1,120}))"
)
PACKAGE = re.compile(r"[/\\](vllm|transformers)[/\\]")
FAMILY = re.compile(r"modeling_([a-z0-9_]{1,40})\.py")
# A traceback of generate() has some forty frames; more than that before a message belong to another one.
MOST_FRAMES = 80
MOST_CODE = 400
Kind = Literal["weights", "kv_cache", "activations", "reserve", "training", "unknown"]


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: its file, its function, and the source lines that the traceback shows of it."""

    file: str
    function: str
    code: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A frame whose file, function and code all match tells ``name``; the empty pattern matches all."""

    name: str
    kind: Kind
    file: str = ""
    function: str = ""
    code: str = ""

    def tells(self, frame: Frame) -> bool:
        pairs = ((self.file, frame.file), (self.function, frame.function), (self.code, frame.code))
        return all(re.search(pattern, text) for pattern, text in pairs)


# transformers 4.30 to 5.17 and vLLM 0.8 to 0.26; the first rule that a frame satisfies counts.
RULES = (
    Rule("gradients", "training", code=r"\.backward\("),
    Rule("optimizer state", "training", file=r"[/\\]torch[/\\]optim[/\\]|optimizer"),
    Rule("KV cache pool", "kv_cache", function=r"kv_caches?(_tensors)?$|initialize_from_config|_allocate_kv"),
    Rule("KV cache, which grows by one token", "kv_cache", file=r"cache_utils\.py"),
    Rule("KV cache, which grows by one token", "kv_cache", code=r"cat\(\[past_key|past_key_values?\.update"),
    Rule("attention mask", "activations", file=r"masking_utils\.py|modeling_attn_mask_utils\.py"),
    Rule("attention mask", "activations", function=r"_mask($|\W)|_expand_mask|mask_(function|interface)"),
    Rule("eager attention scores", "activations", function=r"^eager_attention_forward"),
    Rule(
        "eager attention scores", "activations", file=r"modeling_",
        code=r"matmul\(query|attn_weights|softmax\(|attention_scores",
    ),
    Rule("sdpa attention", "activations", file=r"sdpa_attention", code=r"repeat_kv|scaled_dot|contiguous"),
    Rule("sdpa attention", "activations", code=r"scaled_dot_product_attention"),
    Rule("logits", "activations", code=r"lm_head\(|logits\.float\(|logits\.to\(|compute_logits|\.logits\["),
    Rule("logits", "activations", file=r"logits_processor\.py|generation[/\\]logits_process"),
    Rule("sampler", "activations", file=r"sampl(e|er|ing)[^/\\]*\.py", function=r"sampl|topk|forward|apply"),
    Rule("sampler", "activations", function=r"_dummy_sampler_run|^_?sample$", file=r"vllm"),
    Rule("experts", "activations", file=r"fused_moe|moe\.py"),
    Rule("experts", "activations", function=r"Experts?\.forward|MoE\.forward|MoeBlock"),
    Rule("CUDA graphs", "reserve", function=r"^capture|_capture", file=r"vllm"),
    Rule("CUDA graphs", "reserve", file=r"cuda_?graph"),
    Rule("weights", "weights", function=r"^(load_model|load_weights|from_pretrained|create_weights|_load_)"),
    Rule("weights", "weights", file=r"weight_utils\.py|core_model_loading\.py|safetensors|default_loader"),
    Rule("weights", "weights", function=r"^(to|cuda|convert)$", file=r"nn[/\\]modules[/\\]module"),
    Rule("image tower", "activations", file=r"siglip|clip|vision|vit\.py"),
    Rule("MLP", "activations", code=r"down_proj\(|gate_proj\(|gate_up_proj\(|act_fn\("),
    Rule("norm", "activations", function=r"Norm\.forward", file=r"modeling_"),
    Rule("rotary embedding", "activations", function=r"rotary|rotate_half"),
    Rule("query, key and value", "activations", code=r"[qkv]_proj\(|qkv_proj\("),
    Rule("profiling run", "activations", function=r"profile_run|determine_available_memory"),
)  # fmt: skip


def read_frames(text: str) -> list[Frame]:
    """Return the frames of the text, outermost first, at most ``MOST_FRAMES`` of the last ones."""
    matches = list(FRAME.finditer(text))[-MOST_FRAMES:]
    ends = [*(match.start() for match in matches), len(text)][1:]
    return [
        Frame(
            file=match["quoted"] or match["bare"],
            function=(match["function"] or match["called"]).strip(),
            code=text[match.end() : min(end, match.end() + MOST_CODE)],
        )
        for match, end in zip(matches, ends, strict=True)
    ]


def allocation_of(frames: list[Frame]) -> Allocation:
    """Return what the innermost telling frame was about, and the engine and family of the frames."""
    files = [frame.file for frame in frames]
    packages = {match[1] for file in files for match in PACKAGE.finditer(file)}
    engine = next((name for name in ("vllm", "transformers") if name in packages), None)
    family = next((match[1] for file in reversed(files) if (match := FAMILY.search(file))), None)
    telling = (rule for frame in reversed(frames) for rule in RULES if rule.tells(frame))
    rule = next(telling, Rule("not told by the traceback", "unknown"))
    return Allocation(rule.name, rule.kind, engine, family)
