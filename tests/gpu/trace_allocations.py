"""Record what torch's allocator does while a few layers of a model generate: ``python … CASES.jsonl FOLDER``.

Each case is one JSON object a line: model, layers, tokens, batch, attention, cache, new, padding. Written:
one file of JSON lines a case, first its header, then the allocator's own trace in order (action, bytes,
address, the innermost lines of code). The simulation of the allocator is held against these.
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

ACTIONS = {"alloc", "free_requested", "free_completed", "segment_alloc", "segment_free"}
DEFAULTS = {"batch": 1, "attention": "sdpa", "cache": "dynamic", "new": 4, "padding": 0}
FRAMES = 4


def main(cases: str, folder: str) -> int:
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    for number, line in enumerate(Path(cases).read_text(encoding="utf-8").splitlines()):
        case = DEFAULTS | json.loads(line)
        started = time.monotonic()
        try:
            rows = trace(case)
            with (out / f"{number:02d}-{case['model']}.jsonl").open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
            print(f"{case}: {len(rows)} rows, {time.monotonic() - started:.1f} s", flush=True)
        except Exception as error:
            traceback.print_exc(limit=3)
            print(f"{case}: FAILED {str(error)[:300]}", flush=True)
        torch.cuda.memory._record_memory_history(enabled=None)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    return 0


def trace(case: dict) -> list:
    """Run one case and return its header and trace."""
    model = build_twin(
        case["model"], devices=("cuda:0",), attention=case["attention"], layers=case["layers"]
    )
    model.generation_config.eos_token_id = None
    vocabulary = model.config.get_text_config().vocab_size
    torch.cuda.empty_cache()
    held = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    torch.cuda.memory._record_memory_history(max_entries=1_000_000, stacks="python")
    ids = torch.randint(0, vocabulary, (case["batch"], case["tokens"]), device="cuda:0")
    mask = torch.ones_like(ids)
    if case["padding"]:
        mask[0, : case["padding"]] = 0
    options = {"cache_implementation": "static"} if case["cache"] == "static" else {}
    marks = []

    def mark(_ids, _scores, **_):
        marks.append(torch.cuda.max_memory_allocated())
        return False

    model.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=case["new"], do_sample=False,
        disable_compile=True, stopping_criteria=[mark], **options,
    )  # fmt: skip
    torch.cuda.synchronize()
    snapshot = torch.cuda.memory._snapshot()
    header = {
        **case, "held": held, "peaks": marks, "peak": torch.cuda.max_memory_allocated(),
        "reserved": torch.cuda.max_memory_reserved(), "hardware": hardware_name(),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip
    events = [
        [event["action"], event["size"], event["addr"], frames(event)]
        for event in snapshot["device_traces"][0]
        if event["action"] in ACTIONS
    ]
    del model
    return [header, *events]


def frames(event: dict) -> list[str]:
    """Return the innermost lines of Python, torch's own modules left out."""
    kept = [
        f"{Path(frame['filename']).name}:{frame['line']}:{frame['name']}"
        for frame in event.get("frames", [])
        if "/torch/" not in frame["filename"]
    ]
    return kept[:FRAMES]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
