"""What both engines can do: fewer bits for the weights, more GPUs."""

from collections.abc import Iterator

from workshop_utils.memory.logs.question import Question
from workshop_utils.memory.logs.room import Advice, Room, first

LAYOUTS = (2, 4, 8)
# Formats of published checkpoints for vLLM, of loading for transformers; the first that is enough is told.
SMALLER_WEIGHTS = {"vllm": ("fp8", "awq-int4-g128"), "transformers": ("bfloat16", "int8", "nf4", "int4")}


def smaller_weights(question: Question, room: Room) -> Iterator[Advice]:
    """Yield the first smaller format of the weights that fits; a larger one never does."""
    formats = [name for name in SMALLER_WEIGHTS[question.engine] if name != question.dtype]
    if name := first(formats, lambda value: question.changed(dtype=value), room):
        yield Advice("dtype", name, f"weights in {name} leave enough.")


def more_gpus(question: Question, room: Room) -> Iterator[Advice]:
    """Yield the fewest GPUs that hold it: tensor parallel in vLLM, else pipeline stages."""
    vllm = question.engine == "vllm"
    name, option = ("tensor_parallel", "--tensor-parallel-size") if vllm else ("pipeline_parallel", "GPUs")
    sizes = [size for size in LAYOUTS if size > getattr(question, name)]
    if size := first(sizes, lambda value: question.changed(**{name: value}), room):
        how = "in tensor parallel" if vllm else 'with device_map="auto"'
        # Engines that share experts grow together.
        gpus = size * question.data_parallel
        yield Advice(option, str(size), f"{gpus} GPUs of this type hold it {how}.")
