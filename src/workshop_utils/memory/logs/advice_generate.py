"""What lets ``generate()`` finish: sdpa, fewer sequences, a shorter input, other weights, other GPUs."""

from collections.abc import Iterator

from workshop_utils.hardware.catalogue import load_gpus
from workshop_utils.memory.logs.advice_layout import more_gpus, smaller_weights
from workshop_utils.memory.logs.question import Question
from workshop_utils.memory.logs.room import Advice, Room, largest, with_tokens


def generate_advice(question: Question, room: Room) -> Iterator[Advice]:
    """Yield what lets ``generate()`` finish on the GPU of the message."""
    if room.limit_bytes is None or room.holds(question):
        return
    if question.attention == "eager" and room.holds(question.changed(attention="sdpa")):
        yield Advice("attn_implementation", "sdpa", "sdpa keeps no scores of tokens × tokens.")
    if question.batch > 1 and (
        batch := largest(range(1, question.batch), lambda batch: question.changed(batch=batch), room)
    ):
        yield Advice("batch", str(batch), f"{batch:,} sequences of {question.tokens:,} tokens fit at a time.")
    if longest := largest(range(1, question.tokens), with_tokens(question), room):
        yield Advice("tokens", str(longest), f"{longest:,} tokens fit at batch {question.batch:,}.")
    yield from smaller_weights(question, room)
    yield from more_gpus(question, room)
    yield from larger_gpu(question, room)


def larger_gpu(question: Question, room: Room) -> Iterator[Advice]:
    """Yield the smallest GPU type of the catalogue that holds the process alone."""
    for gpu in sorted(load_gpus(), key=lambda gpu: gpu.usable_gib):
        larger = Room(need_shift=room.need_shift, limit_bytes=gpu.usable_bytes)
        if larger.holds(question.changed(gpu=gpu)):
            yield Advice("gpu", gpu.name, f"one {gpu.name} ({gpu.usable_gib:.1f} GiB) holds it.")
            return
