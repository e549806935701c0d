"""Record what torch's allocator does while a few layers of a model generate: ``python … CASES.jsonl FOLDER``.

Each case is one JSON object a line: model, layers, tokens, batch, attention, cache, new, padding, gpus.
Written: one JSON file a case and GPU, its settings and results, and ``steps``: every tensor of weights and
generation in order, a positive number for one of so many bytes in the next slot, ``~slot`` for its end. The
order in which ``memory/tensors`` makes tensors, and the simulated allocator, are held against these.
"""

import json
import sys
import time
import traceback
from pathlib import Path

import torch
import transformers

from workshop_utils.measure.provenance import hardware_name
from workshop_utils.measure.shape_twin import build_twin

DEFAULTS = {"batch": 1, "attention": "sdpa", "cache": "dynamic", "new": 4, "padding": 0, "gpus": 1}


def main(cases: str, folder: str) -> int:
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    for number, line in enumerate(Path(cases).read_text(encoding="utf-8").splitlines()):
        case = DEFAULTS | json.loads(line)
        started = time.monotonic()
        try:
            for rank, result in enumerate(trace(case)):
                file = out / f"{number:02d}-{case['model']}-{rank}.json"
                file.write_text(json.dumps(result), encoding="utf-8")
                print(f"{case}: {len(result['steps'])} steps", flush=True)
            print(f"{time.monotonic() - started:.1f} s", flush=True)
        except Exception as error:
            traceback.print_exc(limit=3)
            print(f"{case}: FAILED {str(error)[:300]}", flush=True)
        torch.cuda.memory._record_memory_history(enabled=None)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    return 0


def trace(case: dict) -> list[dict]:
    """Run one case and return its settings, results and steps, one a GPU."""
    torch.cuda.memory._record_memory_history(max_entries=2_000_000, context=None)
    model = build_twin(
        case["model"],
        devices=tuple(f"cuda:{index}" for index in range(case["gpus"])),
        attention=case["attention"],
        layers=case["layers"],
    )
    model.generation_config.eos_token_id = None
    vocabulary = model.config.get_text_config().vocab_size
    loaded = [torch.cuda.memory_allocated(index) for index in range(case["gpus"])]
    ids = torch.randint(0, vocabulary, (case["batch"], case["tokens"]), device="cuda:0")
    mask = torch.ones_like(ids)
    if case["padding"]:
        mask[0, : case["padding"]] = 0
    options = {"cache_implementation": "static"} if case["cache"] == "static" else {}
    model.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=case["new"], do_sample=False,
        disable_compile=True, **options,
    )  # fmt: skip
    torch.cuda.synchronize()
    traces = torch.cuda.memory._snapshot()["device_traces"]
    shared = {
        "hardware": hardware_name(), "date": time.strftime("%Y-%m-%d"),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }  # fmt: skip
    results = [
        {
            **case, **shared, "rank": index, "loaded": loaded[index],
            "peak": torch.cuda.max_memory_allocated(index),
            "reserved": torch.cuda.max_memory_reserved(index), "steps": steps(traces[index]),
        }
        for index in range(case["gpus"])
    ]  # fmt: skip
    del model
    return results


def steps(events: list[dict]) -> list[int]:
    """Return the tape of a trace."""
    found, slots, count = [], {}, 0
    for event in events:
        if event["action"] == "alloc":
            found.append(event["size"])
            slots[event["addr"]] = count
            count += 1
        elif event["action"] == "free_completed" and event["addr"] in slots:
            found.append(~slots.pop(event["addr"]))
    return found


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
