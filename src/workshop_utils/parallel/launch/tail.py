"""New lines of a file that another process is writing."""

from pathlib import Path

# At a time, so that a rank that prints without end neither fills the memory nor keeps the others waiting.
CHUNK_BYTES = 2**20


class Tail:
    """Reads on from where it stopped, at byte ``position``. The file need not exist yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.position = 0
        self._unfinished = b""

    def lines(self) -> list[str]:
        """Return the lines that have come, without their ends; an unfinished one waits for its rest."""
        *whole, self._unfinished = (self._unfinished + self._read()).split(b"\n")
        return [_shown(line) for line in whole]

    def rest(self) -> list[str]:
        """Return all that is left, a last line without its end too, once nobody writes any more."""
        found = self.lines()
        while chunk := self._read():
            *whole, self._unfinished = (self._unfinished + chunk).split(b"\n")
            found += [_shown(line) for line in whole]
        last, self._unfinished = self._unfinished, b""
        return [*found, _shown(last)] if last else found

    def _read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                file.seek(self.position)
                chunk = file.read(CHUNK_BYTES)
        except OSError:
            return b""
        self.position += len(chunk)
        return chunk


def _shown(line: bytes) -> str:
    """A progress bar writes over its own line: what stands there at last is what counts."""
    return line.decode("utf-8", errors="replace").rstrip("\r").rpartition("\r")[2]
