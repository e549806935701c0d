"""vLLM beside bench_strategies.py on this machine: ``python tests/gpu/bench_vllm.py OUT --vllm SITE``.

A case is one engine (a model's shape with random weights, on one or more GPUs) and the workloads that run in
it. It adds a line to OUT/vllm.jsonl, with its workloads in the form of ``workshop bench run --json``, and
leaves all that vLLM printed in OUT/vllm_log_MODEL_tpN.txt. SITE is a folder with vLLM 0.26 and what it needs.
To run two cases of one GPU at a time: ``--cases 0 --gpu-list 0 & … --cases 1 --gpu-list 1 & wait``.

The definitions are those of ``workshop bench run`` (parallel/generate.py, parallel/bench_result.py), with the
same prompts. ``ttft_ms``: from handing the prompts in to the first token of all, the wall time of a run with
one new token. ``tpot_ms``: (wall time of all new tokens − median TTFT) / (new − 1), of one step of all
sequences. ``tokens_per_s``: batch / TPOT, decoding alone; ``wall_tokens_per_s``: batch × new / wall time,
prefill included. The wall is that of ``LLM.generate()``, so vLLM's scheduler and its messages between
processes count, as a user pays them; ours starts when the prompts are on the GPU. ``engine_ttft_ms`` and
``engine_tpot_ms`` are the same as the engine's own clock has them, from queueing on. Two warm-ups, then five
runs each; no prefix caching, temperature 0, end tokens ignored.

``--rows FILE`` measures nothing: it adds a row per rank of every log in OUT to FILE, which may be
notebooks/recorded/vllm_0.26_starts.json, with exact bytes that the workers gave after the start.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

EIGHT, TWENTY_FOUR = "llama-3.1-8b", "mistral-small-24b"
WARM_UP, REPEATS = 2, 5
# The server's own on a GPU of 70 GiB and more (vllm/engine/arg_utils.py, get_batch_defaults), those of
# notebooks/recorded/vllm_0.26_starts.json.
SETTINGS = {
    "max_num_batched_tokens": 8192,
    "max_num_seqs": 1024,
    "max_model_len": 8192,
    "gpu_memory_utilization": 0.95,
}
ENVIRONMENT = {
    "VLLM_USE_FLASHINFER_SAMPLER": "0",
    "VLLM_ALLREDUCE_USE_SYMM_MEM": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "HF_HUB_OFFLINE": "1",
}
TOLD = ("NCCL_NVLS_ENABLE", "VLLM_ALLREDUCE_USE_SYMM_MEM", "VLLM_USE_FLASHINFER_SAMPLER")
CACHES = (
    "VLLM_CACHE_ROOT",
    "VLLM_CONFIG_ROOT",
    "TRITON_CACHE_DIR",
    "TORCHINDUCTOR_CACHE_DIR",
    "XDG_CACHE_HOME",
)
START, WORKLOAD = "BENCH_VLLM_START ", "BENCH_VLLM_WORKLOAD "
COMMAND = "vllm.LLM(load_format='dummy') with the server's max_num_batched_tokens and max_num_seqs"


class Workload(NamedTuple):
    batch: int
    tokens: int
    new: int


class Case(NamedTuple):
    model: str
    tensor: int
    workloads: tuple[Workload, ...]

    def log(self, out: Path) -> Path:
        return out / f"vllm_log_{self.model}_tp{self.tensor}.txt"


SHORT, LONG, BATCH = Workload(1, 128, 128), Workload(1, 4096, 16), Workload(32, 512, 64)
CASES = (
    Case(EIGHT, 1, (SHORT, BATCH)),
    Case(TWENTY_FOUR, 1, (SHORT, LONG)),
    Case(EIGHT, 2, (SHORT,)),
    Case(TWENTY_FOUR, 2, (SHORT, LONG)),
    # For what a start takes of the memory.
    *(Case(model, 1, (SHORT,)) for model in ("granite-3.1-8b", "phi-4", "gemma-2-9b")),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--vllm", type=Path, metavar="SITE", help="the unpacked folder, put on PYTHONPATH")
    parser.add_argument("--cases", type=int, nargs="+", metavar="N", choices=range(len(CASES)), help="0 to 6")
    parser.add_argument("--gpu-list", help="CUDA_VISIBLE_DEVICES of the engines, such as 0 or 0,1")
    parser.add_argument("--limit-s", type=float, default=280, help="seconds after which a case is ended")
    parser.add_argument("--rows", type=Path, metavar="FILE", help="add rows made of OUT's logs to this file")
    arguments = parser.parse_args()
    if arguments.rows:
        add_rows(sorted(arguments.out.glob("vllm_log_*.txt")), arguments.rows)
        return
    if arguments.vllm is None or not (arguments.vllm / "vllm" / "__init__.py").is_file():
        parser.error(f"--vllm {arguments.vllm} holds no vllm/__init__.py; name the unpacked folder")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for number in arguments.cases or range(len(CASES)):
        run(number, arguments.out, arguments.vllm.resolve(), arguments.gpu_list, arguments.limit_s)


# ---- Beside the engine: one case, its limit, its line.
def run(number: int, out: Path, site: Path, gpus: str | None, limit_seconds: float) -> None:
    """Run one case in processes of its own, and write and print what came of it."""
    case, before = CASES[number], time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bench_vllm_", ignore_cleanup_errors=True) as scratch:
        task, env = write_task(case, Path(scratch)), environment(site, Path(scratch), gpus)
        command = [sys.executable, str(Path(__file__).resolve()), "--engine", str(task)]
        ended = started_and_ended(command, env, case.log(out), limit_seconds)
    text = case.log(out).read_text(encoding="utf-8", errors="replace")
    row: dict[str, Any] = {"case": number, "model": case.model, "ranks": case.tensor, "gpu_list": gpus}
    row |= {"seconds": time.monotonic() - before, **SETTINGS, **next(marked(START, text), {})}
    row["workloads"] = list(marked(WORKLOAD, text))
    if len(row["workloads"]) < len(case.workloads):
        row["failed"] = f"{ended}: {text[-1500:]}"
    with (out / "vllm.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    for done in row["workloads"]:
        shape = f"batch {done['batch']}, {done['tokens']} + {done['new']}"
        figures = {key: round(done[key], 2) for key in ("ttft_ms", "tpot_ms", "tokens_per_s")}
        print(number, case.model, f"tp {case.tensor}", shape, figures, flush=True)
    print(number, row.get("failed") or f"started in {row['start_seconds']:.0f} s", f"{row['seconds']:.0f} s")


def write_task(case: Case, folder: Path) -> Path:
    """Write the model's config.json and the prompts that ``workshop bench run`` has; returns the task."""
    from workshop_utils.measure.shape_twin import twin_config
    from workshop_utils.parallel.bench_case import BenchCase, random_prompts

    (folder / "model").mkdir()
    config = json.dumps(dict(twin_config(case.model).fields))
    (folder / "model" / "config.json").write_text(config, encoding="utf-8")
    workloads = [
        {**of._asdict(), "prompts": random_prompts(BenchCase("tensor", case.model, **of._asdict()), of.batch)}
        for of in case.workloads
    ]
    task = {"model": case.model, "tensor": case.tensor, "folder": str(folder / "model")}
    task |= {"workloads": workloads}
    (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
    return folder / "task.json"


def environment(site: Path, scratch: Path, gpus: str | None) -> dict[str, str]:
    """Return the engine's environment: caches of its own, and NCCL's variables as they are here."""
    # Unbuffered, the lines of several processes would be written in pieces.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    path = [str(site), *filter(None, [kept.get("PYTHONPATH")])]
    caches = {name: str(scratch / name.lower()) for name in CACHES}
    seen = {"CUDA_VISIBLE_DEVICES": gpus} if gpus else {}
    return {**kept, **ENVIRONMENT, **caches, **seen, "PYTHONPATH": os.pathsep.join(path)}


def started_and_ended(command: list[str], env: dict[str, str], log: Path, limit_seconds: float) -> str:
    """Run a command in a session of its own, and leave no process of it; returns how it ended."""
    with log.open("ab") as file:
        file.truncate(0)
        process = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
        )
        try:
            return f"exit status {process.wait(timeout=limit_seconds)}"
        except subprocess.TimeoutExpired:
            return f"ended after {limit_seconds:.0f} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def marked(marker: str, text: str) -> Iterator[dict[str, Any]]:
    """Yield what ``tell`` wrote, wherever in a line it stands."""
    for part in text.split(marker)[1:]:
        try:
            yield json.JSONDecoder().raw_decode(part)[0]
        except ValueError:  # the process was ended while it wrote
            return


# ---- In the engine's process: vLLM, and nothing of ours.
def engine(task_file: Path) -> None:
    """Start vLLM, tell its memory, and run the workloads."""
    task = json.loads(task_file.read_text(encoding="utf-8"))
    before = time.perf_counter()
    import torch
    import transformers
    import vllm
    from vllm import LLM

    machine, imported = machine_before(), time.perf_counter()
    llm = LLM(
        model=task["folder"], tensor_parallel_size=task["tensor"], dtype="bfloat16", load_format="dummy",
        config_format="hf", skip_tokenizer_init=True, enable_prefix_caching=False, disable_log_stats=False,
        worker_extension_cls=f"{Path(__file__).stem}.WorkerMemory", **SETTINGS,
    )  # fmt: skip
    versions = {module.__name__: str(module.__version__) for module in (vllm, torch, transformers)}
    cache = llm.llm_engine.vllm_config.cache_config
    started = {
        "import_seconds": imported - before,
        "start_seconds": time.perf_counter() - imported,
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {**versions, "NVIDIA driver": machine["driver"]},
        "idle_nvml_bytes": machine["used_bytes"],
        "kv_cache_tokens": cache.kv_cache_size_tokens,
        "max_concurrency": cache.kv_cache_max_concurrency,
        "environment": " ".join(f"{name}={os.environ[name]}" for name in TOLD if name in os.environ),
        "memory": llm.collective_rpc("memory_after_start"),
    }
    device = started["memory"][0]["gpu"]
    started["device"] = device if task["tensor"] == 1 else f"{task['tensor']} × {device}"
    tell(START, {"model": task["model"], "tensor": task["tensor"], **started})
    for workload in task["workloads"]:
        prompts = [{"prompt_token_ids": prompt} for prompt in workload.pop("prompts")]
        found = measured(llm, prompts, workload["new"])
        about = {"strategy": "vllm", "ranks": task["tensor"], "model": task["model"], "dtype": "bfloat16"}
        tell(WORKLOAD, {**about, "device": started["device"], **workload, **found})


class WorkerMemory:
    """What vLLM's workers learn besides (worker_extension_cls): to tell bytes that they log rounded."""

    def memory_after_start(self: Any) -> dict[str, Any]:
        import torch

        free, total = torch.cuda.mem_get_info(self.device)
        return {
            "bytes": {
                "weights": int(self.model_runner.model_memory_usage),
                "activation": self.peak_activation_memory,
                "non_torch": self.non_torch_memory,
                "available": int(self.available_kv_cache_memory_bytes),
                "total": self.init_snapshot.total_memory,
                "before_start": self.init_snapshot.cuda_memory,
                "used": total - free,
                "reserved": torch.cuda.memory_reserved(self.device),
            },
            "rank": self.rank,
            "gpu": torch.cuda.get_device_name(self.device),
            "gpu_blocks": self.cache_config.num_gpu_blocks,
            "second_runner": bool(self.use_v2_model_runner),
        }


def machine_before() -> dict[str, Any]:
    """Return the driver's version, and what NVML counts as used on the first GPU while nothing runs there."""
    from vllm.third_party import pynvml

    pynvml.nvmlInit()
    try:
        first = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip() or "0"
        by_index = first.isdecimal()
        ask = pynvml.nvmlDeviceGetHandleByIndex if by_index else pynvml.nvmlDeviceGetHandleByUUID
        handle = ask(int(first) if by_index else first)
        # The first version of this call, as in the rows that are there: with what the driver reserves.
        used = int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)
        return {"driver": pynvml.nvmlSystemGetDriverVersion(), "used_bytes": used}
    finally:
        pynvml.nvmlShutdown()


class Timing(NamedTuple):
    """One run, in milliseconds; the engine's own times are None where vLLM hands none out."""

    wall: float
    engine_ttft: float | None
    engine_tpot: float | None


def measured(llm: Any, prompts: list[dict[str, Any]], new: int) -> dict[str, Any]:
    """Return the medians and every run of one workload, in milliseconds and tokens a second."""
    for _ in range(WARM_UP):
        timed(llm, prompts, 1)
        timed(llm, prompts, new)
    first = [timed(llm, prompts, 1) for _ in range(REPEATS)]
    whole = [timed(llm, prompts, new) for _ in range(REPEATS)]
    ttft = statistics.median(run.wall for run in first)
    runs: dict[str, list[Any]] = {
        "ttft_ms": [run.wall for run in first],
        "tpot_ms": [(run.wall - ttft) / (new - 1) for run in whole],
        "wall_ms": [run.wall for run in whole],
        "engine_ttft_ms": [run.engine_ttft for run in first],
        "engine_tpot_ms": [run.engine_tpot for run in whole],
    }
    medians = {name: None if None in values else statistics.median(values) for name, values in runs.items()}
    return {
        **medians,
        "tokens_per_s": 1000 * len(prompts) / statistics.median(runs["tpot_ms"]),
        "wall_tokens_per_s": 1000 * len(prompts) * new / statistics.median(runs["wall_ms"]),
        "runs": [runs],
    }


def timed(llm: Any, prompts: list[dict[str, Any]], new: int) -> Timing:
    """Run once."""
    from vllm import SamplingParams

    sampling = SamplingParams(temperature=0.0, max_tokens=new, ignore_eos=True, detokenize=False)
    before = time.perf_counter()
    outputs = llm.generate(prompts, sampling, use_tqdm=False)
    wall = 1000 * (time.perf_counter() - before)
    made = [len(output.outputs[0].token_ids) for output in outputs]
    if made != [new] * len(prompts):
        raise RuntimeError(f"asked for {new} tokens of each of {len(prompts)} prompts, and got {made}")
    stats = [output.metrics for output in outputs]
    if None in stats:
        return Timing(wall, None, None)
    queued, first = min(one.queued_ts for one in stats), max(one.first_token_ts for one in stats)
    decode = max(one.last_token_ts for one in stats) - first
    return Timing(wall, 1000 * (first - queued), 1000 * decode / (new - 1) if new > 1 else None)


def tell(marker: str, found: dict[str, Any]) -> None:
    """Write one line to the log in one piece: the engine's other processes write there too."""
    sys.stdout.flush()
    os.write(sys.stdout.fileno(), f"\n{marker}{json.dumps(found)}\n".encode())


# ---- Rows of recorded starts.
def add_rows(logs: list[Path], file: Path) -> None:
    """Add a row for each rank of each log to a file of recorded measurements, after the starts in it."""
    from workshop_utils.errors import WorkshopError
    from workshop_utils.measure.measurement import load_measurements, save_measurements

    kept = list(load_measurements(file)) if file.exists() else []
    for log in logs:
        start = 1 + max((row.settings["start"] for row in kept), default=-1)
        try:
            kept += start_rows(log.read_text(encoding="utf-8", errors="replace"), start)
        except WorkshopError as error:
            print(f"{log}: {error}")
    save_measurements(file, kept)
    print(f"{file}: {len(kept)} rows")


def start_rows(text: str, start: int) -> list[Any]:
    """Return a ``Measurement`` for each rank of one log, like those of vllm_0.26_starts.json.

    Bytes are the workers' own; those of the CUDA graphs are as logged, in hundredths of a GiB. Raises
    WorkshopError for a log of an engine that did not start, or that lacks a rank's graphs.
    """
    from workshop_utils.errors import WorkshopError
    from workshop_utils.measure.measurement import Measurement, Quantity
    from workshop_utils.memory.logs.reading import read_log
    from workshop_utils.units import GIB

    told = next(marked(START, text), None)
    if told is None:
        raise WorkshopError("the log has no figures of the workers: the engine did not start.")
    graphs = [rank.cuda_graph_bytes for rank in read_log(text).ranks if rank.cuda_graph_bytes is not None]
    if len(graphs) != len(told["memory"]):
        raise WorkshopError(f"CUDA graphs of {len(graphs)} ranks are logged, not of {len(told['memory'])}.")
    split = {"tensor_parallel": told["tensor"], "pipeline_parallel": 1}
    return [
        Measurement(
            what=f"start of vLLM 0.26: {told['model']}, tp {told['tensor']}, pp 1, rank {rank['rank']}",
            values={name: Quantity(value, "bytes") for name, value in rank["bytes"].items()},
            command=COMMAND,
            hardware=told["device"],
            versions=told["versions"],
            date=told["date"],
            commit=None,
            settings={
                "model": told["model"], **split,
                **{name: SETTINGS[name] for name in ("max_model_len", "gpu_memory_utilization")},
                **{name: SETTINGS[name] for name in ("max_num_batched_tokens", "max_num_seqs")},
                "gpu_blocks": rank["gpu_blocks"], "kv_cache_tokens": told["kv_cache_tokens"],
                "max_concurrency": told["max_concurrency"], "second_runner": rank["second_runner"],
                "cuda_graphs_gib_logged": [round(size / GIB, 2) for size in graphs],
                "idle_nvml_bytes": told["idle_nvml_bytes"], "start": start, "rank": rank["rank"],
                "gpu": rank["gpu"], "environment": told["environment"],
            },
        )
        for rank in told["memory"]
    ]  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["--engine"]:
        engine(Path(sys.argv[2]))
    else:
        main()
