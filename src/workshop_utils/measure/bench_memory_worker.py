"""One run of ``workshop bench memory`` in a process of its own: ``python -m … CASE DEVICE FILE``.

It imports and builds the model without storage at once, waits for a line on standard input, and only then
touches the device: so the next process gets ready while the present one measures. It writes its notes as
JSON lines into FILE: the stage it has reached, at last the outcome. When standard input closes, it ends.
"""

import json
import os
import sys
import threading
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workshop_utils.errors import WorkshopError
from workshop_utils.measure.bench_memory_case import NEW_TOKENS, MemoryCase, case_of
from workshop_utils.measure.bench_memory_meter import StageMeter, Values, meter_of, whole_peak
from workshop_utils.measure.generation import warm_up
from workshop_utils.measure.shape_twin import build_skeleton, materialise, parameter_bytes

PREFILL = "computing the prefill"


@dataclass
class Run:
    """What is known so far of one case; ``values`` has one dictionary a device."""

    case: MemoryCase
    notes: Path
    meter: StageMeter | None = None
    values: list[Values] = field(default_factory=list)
    stage: str = "preparing"

    def enter(self, stage: str) -> None:
        """Note the stage, so that a process that is killed has said how far it came."""
        self.stage = stage
        self.note({"stage": stage})

    def learn(self, readings: list[Values]) -> None:
        """Add readings, one dictionary a device, to what is known."""
        known = self.values or [{} for _ in readings]
        self.values = [{**old, **new} for old, new in zip(known, readings, strict=True)]

    def note(self, row: dict[str, Any]) -> None:
        with self.notes.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


def main(case_text: str, device: str, notes: str) -> int:
    """Measure one case and note its outcome; the exit code says nothing, the notes say all."""
    run = Run(case_of(json.loads(case_text)), Path(notes))
    outcome, message = "measured", None
    try:
        measure(run, device)
    except WorkshopError as error:
        outcome, message = "failed", str(error)
    # Whatever a model's code raises is the result of this case, and the next case runs.
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        outcome = "out_of_memory" if out_of_memory(error) else "failed"
        message = f"while {run.stage}: {reason}"
        if outcome == "failed":
            traceback.print_exc()
        elif run.meter is not None:
            run.learn(run.meter.stopped())
    run.note({"outcome": outcome, "message": message, "values": [whole_peak(one) for one in run.values]})
    return 0


def measure(run: Run, device: str) -> None:
    """Prepare, wait for the word, then fill the device and generate."""
    case = run.case
    run.enter("preparing")
    skeleton = build_skeleton(case.model, attention=case.attention)
    if device == "cpu":
        warm_up()
    if not sys.stdin.readline():
        os._exit(1)
    end_with_parent()
    run.meter = meter_of(device, case.pipeline_parallel)
    require_devices(device, case.pipeline_parallel)
    run.enter("loading the weights")
    model = materialise(skeleton, run.meter.devices)
    weights = parameter_bytes(model)
    run.learn([{"weights": weights.get(name, 0)} for name in run.meter.devices])
    run.learn(run.meter.loaded())
    run.enter(PREFILL)
    output = generate(run, model)
    run.learn(run.meter.ended())
    if output.shape[1] != case.total_tokens:
        raise WorkshopError(f"{case.label} ended after {output.shape[1]} tokens; that is a fault, report it.")


def generate(run: Run, model: Any) -> Any:
    """Generate from random prompts, greedily, and read the peak of the prefill at the first new token."""
    import torch

    case, meter = run.case, run.meter
    assert meter is not None
    vocabulary = model.config.get_text_config().vocab_size
    ids = torch.randint(0, vocabulary, (case.batch, case.tokens), device=meter.devices[0])
    # Random weights would end a sequence by chance.
    model.generation_config.eos_token_id = None

    def at_each_token(_ids: Any, _scores: Any, **_: Any) -> bool:
        if run.stage == PREFILL:
            run.learn(meter.prefilled())
            run.enter("decoding")
        return False

    return model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=NEW_TOKENS,
        do_sample=False,
        stopping_criteria=[at_each_token],
        # Compiling the decoding takes longer than the run and has memory of its own.
        disable_compile=True,
        **({"cache_implementation": "static"} if case.cache == "static" else {}),
    )


def require_devices(device: str, count: int) -> None:
    """Raise WorkshopError unless torch can use as many GPUs as the case needs."""
    import torch

    if device == "cuda" and torch.cuda.device_count() < count:
        raise WorkshopError(
            f"torch {torch.__version__} can use {torch.cuda.device_count()} GPUs of the {count} needed; "
            "see `workshop doctor`, or measure on the CPU with --device cpu."
        )


def out_of_memory(error: BaseException) -> bool:
    """Say whether the device, or the CPU's allocator, had no memory left."""
    import torch

    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # The CPU's allocator and cuBLAS raise a plain RuntimeError.
    return any(words in str(error) for words in ("can't allocate memory", "out of memory", "ALLOC_FAILED"))


def end_with_parent() -> None:
    """End this process as soon as its standard input closes, whatever ended the process that started it."""

    def wait() -> None:
        # Not through sys.stdin, whose lock Python's own end would wait for.
        while os.read(sys.stdin.fileno(), 1):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    code = main(*sys.argv[1:])
    sys.stderr.flush()
    # The driver frees a device faster than torch takes its tensors apart.
    os._exit(code)
