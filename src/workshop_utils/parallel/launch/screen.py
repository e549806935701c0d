"""What a reader sees while a run goes on: the ranks' lines, and a bar from rank 0's progress."""

from typing import Any, TextIO


class Screen:
    """Writes to ``output``; the bar is drawn on standard error, or in the notebook, at the first progress."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._bar: Any = None

    def line(self, text: str) -> None:
        """Write one line, above the bar where there is one."""
        if self._bar is None:
            print(text, file=self._output, flush=True)
        else:
            self._bar.write(text, file=self._output)

    def progress(self, note: dict[str, Any]) -> None:
        """Move the bar; a new stage, or another total, begins a new one."""
        from tqdm.auto import tqdm

        stage, done, of = str(note.get("stage") or "progress"), note["done"], note["of"]
        if self._bar is not None and (self._bar.desc.removesuffix(": "), self._bar.total) != (stage, of):
            self.close()
        if self._bar is None:
            self._bar = tqdm(total=of, desc=stage)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
