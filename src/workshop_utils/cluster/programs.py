"""What a job runs where the reader has not put anything else: a proof of the plan, and how it is started."""

from dataclasses import dataclass
from typing import Literal

from workshop_utils.models.catalogue import load_catalogue
from workshop_utils.planner.plan import Plan

# srun: one process on each node, which starts its own ranks. torchrun: one rank for each GPU of all nodes.
# vllm: a server, and then a client that ends it.
Launcher = Literal["srun", "torchrun", "vllm"]
FEWER_BITS = ("int8", "nf4")
# vLLM's word for a precision, where it is no plain --dtype.
VLLM_QUANTIZATION = {"fp8": "fp8", "awq-int4-g128": "awq"}
RANK_SUM = "workshop_utils.cluster.rank_sum"

GENERATE = """\
import sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

name, bits, new_tokens = sys.argv[1], sys.argv[2], int(sys.argv[3])
fewer = BitsAndBytesConfig(load_in_8bit=bits == "int8", load_in_4bit=bits == "nf4",
                           bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float16)
model = AutoModelForCausalLM.from_pretrained(
    name, device_map="auto", dtype="auto", quantization_config=fewer if bits in ("int8", "nf4") else None)
tokenizer = AutoTokenizer.from_pretrained(name)
prompt = tokenizer("Multi-GPU inference is", return_tensors="pt").to(model.device)
print(tokenizer.decode(model.generate(**prompt, max_new_tokens=new_tokens)[0]))
print(*[f"GPU {i}: {torch.cuda.max_memory_allocated(i) / 2**30:.1f} GiB at most"
        for i in range(torch.cuda.device_count())], sep="\\n")"""


@dataclass(frozen=True)
class Program:
    """The words of a command, its launcher, a server's client, and what a reader should know of them."""

    command: tuple[str, ...]
    launcher: Launcher
    client: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def program_of(plan: Plan, nodes: int, model: str) -> Program:
    """Return the proof of one replica of a plan on so many nodes. ``model``: what the reader calls it."""
    if plan.wanted.engine == "vllm":
        return vllm_program(plan, published_name(model))
    if nodes > 1:
        note = (
            "The command below adds up over the ranks of all nodes: it proves that they reach one another. "
            "Then put your own script there, which torchrun starts on every GPU."
        )
        return Program(("--module", RANK_SUM), "torchrun", notes=(note,))
    if plan.runner == "this workshop" or (plan.layout.replica_gpus == 1 and plan.dtype not in FEWER_BITS):
        return Program(bench_words(plan, model), "srun")
    return transformers_program(plan, published_name(model))


def bench_words(plan: Plan, model: str) -> tuple[str, ...]:
    """Return ``workshop bench run`` of one replica: random weights of the true shape, nothing downloaded."""
    layout, wanted = plan.layout, plan.wanted
    own = plan.runner == "this workshop"
    strategy = "pipeline" if layout.pipeline > 1 else "tensor" if own else "plain"
    words = ["workshop", "bench", "run", "--strategy", strategy, "--model", model, "--twin"]
    if layout.replica_gpus > 1:
        words += [
            "--ranks",
            str(layout.replica_gpus),
            "--tp",
            str(layout.tensor),
            "--pp",
            str(layout.pipeline),
        ]
    if layout.pipeline > 1:
        # As many parts as stages keep all of them busy, where the batch has so many.
        words += ["--micro-batches", str(min(layout.pipeline, plan.batch))]
    return (
        *words, "--batch", str(plan.batch), "--tokens", str(wanted.prompt), "--new", str(wanted.new_tokens),
        "--dtype", plan.dtype, "--repeats", "1",
    )  # fmt: skip


def transformers_program(plan: Plan, model: str) -> Program:
    """Return plain transformers on the real weights: a precision or a family that no twin of ours has."""
    notes = [f"The weights of {model} are downloaded unless they are in HF_HOME: do that on a login node."]
    if plan.dtype in FEWER_BITS:
        notes.append(f"{plan.dtype} needs `pip install bitsandbytes`.")
    words = ("python", "-c", GENERATE, model, plan.dtype, str(min(plan.wanted.new_tokens, 64)))
    return Program(words, "srun", notes=tuple(notes))


def vllm_program(plan: Plan, model: str) -> Program:
    """Return a server with random weights (``--load-format dummy``), and the client that measures it.

    Options: https://docs.vllm.ai/en/latest/cli/serve/ and https://docs.vllm.ai/en/latest/cli/bench/serve/.
    """
    wanted, layout = plan.wanted, plan.layout
    share = -(-wanted.prompts // layout.data)
    serve = [
        "vllm", "serve", model, "--tensor-parallel-size", str(layout.tensor),
        "--pipeline-parallel-size", str(layout.pipeline), "--max-model-len", str(wanted.tokens),
        "--max-num-seqs", str(plan.batch), "--load-format", "dummy",
    ]  # fmt: skip
    notes = [
        "`--load-format dummy` gives random weights, which need no download and prove memory and speed; "
        "without it the real ones are loaded."
    ]
    if quantization := VLLM_QUANTIZATION.get(plan.dtype):
        serve += ["--quantization", quantization]
    else:
        serve += ["--dtype", plan.dtype]
    if quantization == "awq":
        notes.append(f"awq reads a checkpoint that is stored so: put its name in place of {model}.")
    if wanted.kv_dtype:
        serve += ["--kv-cache-dtype", wanted.kv_dtype]
    client = (
        "vllm", "bench", "serve", "--model", model, "--dataset-name", "random",
        "--random-input-len", str(wanted.prompt), "--random-output-len", str(wanted.new_tokens),
        "--ignore-eos", "--num-prompts", str(share), "--max-concurrency", str(min(plan.batch, share)),
    )  # fmt: skip
    return Program(tuple(serve), "vllm", client, tuple(notes))


def published_name(model: str) -> str:
    """Return the Hugging Face id of a catalogue model, else what the reader called it."""
    return next((entry.hf_id for entry in load_catalogue() if entry.name == model), model)
