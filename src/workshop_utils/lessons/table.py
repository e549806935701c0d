"""A small table that reads in a notebook, in a terminal and on a web view."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True, repr=False)
class Table:
    """Rows of text under headers; the first ``text_columns`` are left-aligned, the others, figures, right."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    text_columns: int = 1

    def __repr__(self) -> str:
        if not self.rows:
            return self.caption
        lines = [self.headers, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.headers))]
        text = ["  ".join(self._pad(line, widths)).rstrip() for line in lines]
        return "\n".join([*text, *([self.caption] if self.caption else [])])

    def _repr_html_(self) -> str:
        head = "".join(
            f"<th {self._align(column)}>{escape(name)}</th>" for column, name in enumerate(self.headers)
        )
        body = "".join(
            "<tr>"
            + "".join(f"<td {self._align(column)}>{escape(cell)}</td>" for column, cell in enumerate(row))
            + "</tr>"
            for row in self.rows
        )
        note = f"<p><small>{escape(self.caption)}</small></p>" if self.caption else ""
        if not self.rows:
            return note
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"

    def _pad(self, line: Sequence[str], widths: Sequence[int]) -> list[str]:
        return [
            cell.ljust(width) if column < self.text_columns else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]

    def _align(self, column: int) -> str:
        side = "left" if column < self.text_columns else "right"
        return f'style="text-align:{side};white-space:normal"'
