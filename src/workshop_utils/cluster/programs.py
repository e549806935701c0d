"""What a job runs where the reader has not put anything else: a proof of the plan, and how it is started."""

from dataclasses import dataclass
from typing import Literal

from workshop_utils.errors import WorkshopError
from workshop_utils.models.catalogue import load_catalogue
from workshop_utils.planner.plan import Plan
from workshop_utils.units import GIB

# srun: one process on each node, which starts its own ranks. torchrun: one rank for each GPU of all nodes.
# vllm: a server, and then a client that ends it.
Launcher = Literal["srun", "torchrun", "vllm"]
FEWER_BITS = ("int8", "nf4")
PLAIN = ("bfloat16", "float16", "float32")
RANK_SUM = "workshop_utils.cluster.rank_sum"

# What stands for a quantised checkpoint of the reader's own: MODEL-AWQ, MODEL-GPTQ …
OWN_CHECKPOINT = "MODEL-"
TWIN_NOTE = (
    "The job proves the plan on random weights of the true shape; nothing is downloaded. It runs one batch, "
    "not all prompts."
)

# Arguments: model, stored precision, computing precision, batch, prompt and new tokens, predicted GiB a GPU.
GENERATE = """\
import sys
import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

name, bits, computing, *numbers = sys.argv[1:]
batch, prompt, new_tokens = map(int, numbers[:3])
dtype = getattr(torch, computing)
fewer = BitsAndBytesConfig(load_in_8bit=bits == "int8", load_in_4bit=bits == "nf4",
                           bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)
model = AutoModelForCausalLM.from_pretrained(
    name, device_map="auto", dtype=dtype, quantization_config=fewer if bits in ("int8", "nf4") else None)
# Plain text in every vocabulary, as long as the plan has it.
ids = torch.randint(1000, 2000, (batch, prompt), device=model.device)
model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False,
               min_new_tokens=new_tokens, max_new_tokens=new_tokens)
for gpu, predicted in enumerate(numbers[3:]):
    most = torch.cuda.max_memory_allocated(gpu) / 2**30
    print(f"GPU {gpu}: {most:.1f} GiB at most, predicted {predicted}")"""


@dataclass(frozen=True)
class Program:
    """The words of a command, its launcher, a server's client, and what a reader should know of them.

    ``loads_weights``: whether it reads the real ones.
    """

    command: tuple[str, ...]
    launcher: Launcher
    client: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    loads_weights: bool = False


def program_of(plan: Plan, nodes: int, model: str) -> Program:
    """Return the proof of one replica of a plan on so many nodes. ``model``: what the reader calls it.

    Raises WorkshopError for a precision that transformers' programs here do not load.
    """
    if plan.wanted.engine == "vllm":
        return vllm_program(plan, published_name(model))
    if plan.dtype not in (*PLAIN, *FEWER_BITS):
        raise WorkshopError(
            f"no program here loads {plan.dtype} with transformers; give --dtype one of "
            f"{', '.join((*PLAIN, *FEWER_BITS))}, or --engine vllm."
        )
    if nodes > 1:
        note = (
            "The command below adds up over the ranks of all nodes: it proves that they reach one another. "
            "Then put your own script there, which torchrun starts on every GPU."
        )
        return Program(("--module", RANK_SUM), "torchrun", notes=(note,))
    if plan.dtype in PLAIN and (plan.runner == "this workshop" or plan.layout.replica_gpus == 1):
        return Program(bench_words(plan, model), "srun", notes=(TWIN_NOTE,))
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
    notes = [
        f"The weights of {model} are downloaded unless they are in HF_HOME: do that on a login node.",
        "The job runs one batch of random tokens, not all prompts, and prints measured and predicted memory.",
    ]
    if plan.dtype in FEWER_BITS:
        notes.append(f"{plan.dtype} needs `pip install bitsandbytes`.")
    wanted = plan.wanted
    computing = "bfloat16" if plan.offer.gpu.native_bf16 else "float16"
    words = (
        "python", "-c", GENERATE, model, plan.dtype, plan.dtype if plan.dtype in PLAIN else computing,
        str(plan.batch), str(wanted.prompt), str(wanted.new_tokens),
        *(f"{gpu.peak_bytes / GIB:.1f}" for gpu in plan.estimate.per_gpu),
    )  # fmt: skip
    return Program(words, "srun", notes=tuple(notes), loads_weights=True)


def vllm_program(plan: Plan, model: str) -> Program:
    """Return a server with random weights (``--load-format dummy``), and the client that measures it.

    Options: https://docs.vllm.ai/en/latest/cli/serve/ and https://docs.vllm.ai/en/latest/cli/bench/serve/.
    """
    wanted, layout = plan.wanted, plan.layout
    share = -(-wanted.prompts // layout.copies)
    notes = [
        "`--load-format dummy` gives random weights, which need no download and prove memory and speed; "
        "without it the real ones are loaded."
    ]
    precision = ["--dtype", plan.dtype]
    if plan.dtype == "fp8":
        precision = ["--quantization", "fp8"]
    elif plan.dtype == wanted.architecture.stored_as:
        precision = []  # as its own config.json says
    elif plan.dtype not in PLAIN:
        # vLLM reads from a checkpoint's own config.json that it is stored so, and in what it computes.
        precision, published = [], model
        model = OWN_CHECKPOINT + plan.dtype.split("-")[0].upper()
        notes.append(
            f"{model} stands for a checkpoint of {published} that is stored as {plan.dtype}, yours or a "
            "published one: put its name or folder there, both times. With dummy weights only its config "
            "and tokenizer are read."
        )
    serve = [
        "vllm", "serve", model, "--tensor-parallel-size", str(layout.tensor),
        "--pipeline-parallel-size", str(layout.pipeline), "--max-model-len", str(wanted.tokens),
        "--max-num-seqs", str(-(-plan.batch // layout.engines)), "--load-format", "dummy", *precision,
    ]  # fmt: skip
    if layout.engines > 1:
        # One server starts all engines on its node and shares the prompts out.
        serve += ["--data-parallel-size", str(layout.engines)]
    if layout.expert > 1:
        serve.append("--enable-expert-parallel")
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
