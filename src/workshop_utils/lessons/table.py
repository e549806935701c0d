"""A small table that reads in a notebook, in a terminal and on a web view."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True, repr=False)
class Table:
    """Rows of text under headers; the first column names the row, the others are right-aligned."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""

    def __repr__(self) -> str:
        lines = [self.headers, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.headers))]
        text = ["  ".join(self._pad(line, widths)).rstrip() for line in lines]
        return "\n".join([*text, *([self.caption] if self.caption else [])])

    def _repr_html_(self) -> str:
        head = "".join(
            f"<th {_align(column)}>{escape(name)}</th>" for column, name in enumerate(self.headers)
        )
        body = "".join(
            "<tr>"
            + "".join(f"<td {_align(column)}>{escape(cell)}</td>" for column, cell in enumerate(row))
            + "</tr>"
            for row in self.rows
        )
        note = f"<p><small>{escape(self.caption)}</small></p>" if self.caption else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"

    @staticmethod
    def _pad(line: Sequence[str], widths: Sequence[int]) -> list[str]:
        first, *rest = zip(line, widths, strict=True)
        return [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]


def _align(column: int) -> str:
    return f'style="text-align:{"right" if column else "left"};white-space:normal"'
