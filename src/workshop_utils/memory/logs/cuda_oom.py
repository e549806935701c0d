"""torch's "CUDA out of memory" message, of versions 1.0 to 2.13 (c10/cuda/CUDACachingAllocator.cpp)."""

from workshop_utils.memory.logs.facts import CudaOom
from workshop_utils.memory.logs.frames import allocation_of, read_frames
from workshop_utils.memory.logs.text import SIZE, message, size_bytes

TRIED = rf"(?:CUDA|HIP) out of memory\. Tried to allocate {SIZE}"
# The whole message is one line of some 900 characters, longer where many processes share the GPU.
MESSAGE_LENGTH = 4000
TRACEBACK_LENGTH = 100_000
# From 2.1 on ("capacty" in 2.1), and the form in brackets before.
SENTENCES = {
    "capacity": (rf"GPU (?:\d+ )?has a total capaci?ty of {SIZE}", rf"; {SIZE} total capacity"),
    "free": (rf"of which {SIZE} is free", rf"; {SIZE} free"),
    "process": (rf"this process has {SIZE} memory in use",),
    "allowed": (rf"{SIZE} allowed;",),
    "allocated": (rf"Of the allocated memory {SIZE} is allocated by PyTorch", rf"; {SIZE} already allocated"),
    "unallocated": (rf"{SIZE} is reserved by PyTorch but unallocated",),
    "reserved": (rf"; {SIZE} reserved in total by PyTorch", rf"; {SIZE} cached\)"),
}
INDEX = r"GPU (\d+)(?:;| has)"
OTHER = rf"Process \d+ has {SIZE} memory in use"


def read_cuda_oom(text: str) -> CudaOom | None:
    """Return the first message out of memory, for it is the cause of those after it; None without one."""
    match = message(TRIED).search(text)
    if match is None:
        return None
    told = text[match.start() : match.start() + MESSAGE_LENGTH]
    following = message(TRIED).search(told, 1)
    told = told[: following.start()] if following else told
    sizes = {name: first_size(patterns, told) for name, patterns in SENTENCES.items()}
    others = [size_bytes(*found.groups()) for found in message(OTHER).finditer(told)]
    process = sizes["process"]
    if process is None and others and max(others) >= (sizes["allocated"] or 0):
        # In a container the driver's process numbers are not ours: torch lists this process among others.
        process = max(others)
        others.remove(process)
    index = message(INDEX).search(told)
    before = text[max(0, match.start() - TRACEBACK_LENGTH) : match.start()]
    return CudaOom(
        tried_bytes=size_bytes(*match.groups()),
        gpu_index=int(index[1]) if index else None,
        capacity_bytes=sizes["capacity"],
        free_bytes=sizes["free"],
        process_bytes=process,
        other_bytes=sum(others),
        other_processes=len(others),
        allowed_bytes=sizes["allowed"],
        allocated_bytes=sizes["allocated"],
        unallocated_bytes=unallocated(sizes),
        allocation=allocation_of(read_frames(last_traceback(before))),
    )


def first_size(patterns: tuple[str, ...], text: str) -> int | None:
    """Return the bytes that the first matching sentence states."""
    for pattern in patterns:
        if match := message(pattern).search(text):
            return size_bytes(*match.groups())
    return None


def unallocated(sizes: dict[str, int | None]) -> int | None:
    """Return what the allocator holds beyond tensors; before 2.1 it prints the sum of both."""
    if sizes["unallocated"] is not None or sizes["reserved"] is None or sizes["allocated"] is None:
        return sizes["unallocated"]
    return sizes["reserved"] - sizes["allocated"]


def last_traceback(text: str) -> str:
    """Return the text from the last line that opens a traceback."""
    return text[max(text.rfind("Traceback (most recent call last)"), 0) :]
