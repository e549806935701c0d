"""What each GPU holds where whole experts are spread, since they rarely divide evenly."""

from collections.abc import Iterable

from workshop_utils.memory.estimate import Estimate
from workshop_utils.memory.gpu_estimate import GpuEstimate
from workshop_utils.memory.term import Kind
from workshop_utils.units import format_gb
from workshop_utils.widgets.style import KIND_WORDS
from workshop_utils.widgets.words import plural

TITLE = "<h4>What each GPU holds</h4>"
SHOWN: tuple[Kind, ...] = ("weights", "kv_cache")
MOST_ROWS = 8


def ranks_html(result: Estimate) -> str:
    """Return a row for all GPUs that hold the same; nothing where experts are not spread."""
    if not result.workload.expert_parallel:
        return ""
    alike: dict[tuple[object, ...], list[GpuEstimate]] = {}
    for rank in result.per_gpu:
        alike.setdefault(rank.needed, []).append(rank)
    if len(alike) == 1:
        return f"{TITLE}<p>All {len(result.per_gpu)} GPUs hold the same.</p>"
    groups = list(alike.values())
    rows = "".join(row_html(group) for group in groups[:MOST_ROWS])
    hidden = sum(len(group) for group in groups[MOST_ROWS:])
    more = f" Not shown: {plural(hidden, 'more GPU')}." if hidden else ""
    names = (*(KIND_WORDS[kind] for kind in SHOWN), "all of it")
    heads = "".join(f'<th scope="col" class="number">{name}</th>' for name in names)
    return (
        f"{TITLE}<table><tr><td></td>{heads}</tr>{rows}</table>"
        '<div class="quiet">The more experts on a GPU, the less it has left for its KV cache; the fullest '
        f"GPU of an engine decides for all of them.{more}</div>"
    )


def row_html(group: list[GpuEstimate]) -> str:
    """Return which GPUs these are, and what one of them holds."""
    first = group[0]
    sizes = (*(first.bytes_of(kind) for kind in SHOWN), first.process_bytes)
    cells = "".join(f'<td class="number">{format_gb(size)}</td>' for size in sizes)
    return f'<tr><th scope="row">{gpu_words([rank.rank for rank in group])}</th>{cells}</tr>'


def gpu_words(numbers: Iterable[int]) -> str:
    """Return rising numbers, three and more in a row drawn together: ``GPU 0``, ``GPUs 0 to 3, 6, 7``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    parts = [f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    words = ", ".join(parts)
    return f"GPU {words}" if words.isdigit() else f"GPUs {words}"
