"""What is no log, too long or binary is one sentence; text in any encoding is read."""

import io
import time

import pytest

from workshop_utils.errors import WorkshopError
from workshop_utils.memory.logs.reading import MOST_BYTES, read_log, read_stream

LINE = "INFO [gpu_worker.py:1] Available KV cache memory: 5.35 GiB\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b" \n\t\n", "is empty"),
        (b"\x7fELF\x00\x01\x02", "is binary"),
        (b"hello\nworld\n", "in 2 lines"),
        (b"RuntimeError: CUDA error: out of memory\n", "carries no sizes"),
        (LINE.encode() + b"x" * (MOST_BYTES + 1), "head -n"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(content: bytes, words: str) -> None:
    with pytest.raises(WorkshopError, match=words) as raised:
        read_stream(io.BytesIO(content), "start.log")
    assert "\n" not in str(raised.value)


def test_an_endless_stream_is_not_read_to_its_end() -> None:
    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            assert 0 < size <= MOST_BYTES + 1
            return b"x" * size

    with pytest.raises(WorkshopError, match="more than 16 MiB"):
        read_stream(Endless(), "start.log")  # type: ignore[arg-type]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_as_terminals_and_powershell_write_it(encoding: str) -> None:
    content = LINE.replace("\n", "\r\n").encode(encoding)
    facts = read_stream(io.BytesIO(content), "start.log")
    assert facts.ranks[0].kv_pool_bytes == round(5.35 * 2**30)


def test_bytes_that_are_no_utf8_hide_nothing() -> None:
    facts = read_stream(io.BytesIO(b"\xff\xfe\xfa\xfb"[2:] + LINE.encode()), "start.log")
    assert facts.outcome == "started"


@pytest.mark.parametrize(
    "piece", ["1.", "model=", "CUDA out of memory. ", "GPU KV cache size: ", 'File "', " " * 50]
)
def test_hostile_text_of_a_megabyte_is_read_in_seconds(piece: str) -> None:
    started = time.monotonic()
    facts = read_log(LINE + piece * (10**6 // len(piece)))
    assert facts.outcome == "started"
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("figure", ["5..35", "9" * 400, "....", "1.2.3"])
def test_figures_that_are_none_are_left_out(figure: str) -> None:
    text = f"{LINE}Model loading took {figure} GiB memory and 1.0 seconds\n"
    assert read_log(text).ranks[0].weights_bytes is None
