"""How much sooner a long prompt is read on more GPUs that share every layer, a line for each link."""

from collections.abc import Mapping

from workshop_utils.figures.picture import Picture
from workshop_utils.figures.style import COLOURS, INK, workshop_style

MARKS = ("o", "s", "^")


def link_lines_figure(lines: Mapping[str, Mapping[int, float]], title: str, note: str) -> Picture:
    """Draw the speed-up over GPUs for each named link; ``lines`` are seconds by number of GPUs."""
    from matplotlib.figure import Figure

    colours = (COLOURS["weights"], COLOURS["kv_cache"], COLOURS["activations"])
    with workshop_style():
        figure = Figure(figsize=(7.2, 3.9), layout="constrained")
        axes = figure.subplots()
        for (name, points), colour, mark in zip(lines.items(), colours, MARKS, strict=False):
            gpus = list(points)
            ratios = [points[gpus[0]] / points[size] for size in gpus]
            axes.plot(gpus, ratios, color=colour, marker=mark, label=name)
            axes.annotate(
                f"{points[1]:.2f} s → {points[gpus[-1]]:.2f} s", (gpus[-1], ratios[-1]), (9, 0),
                textcoords="offset points", va="center", fontsize=9,
            )  # fmt: skip
        sizes = sorted({size for points in lines.values() for size in points})
        axes.plot(sizes, sizes, color=INK, linewidth=1, linestyle=":", label="as many times as GPUs")
        axes.set_xscale("log", base=2)
        axes.set_xlim(sizes[0] * 0.9, sizes[-1] * 1.7)  # room for the words
        axes.set_yscale("log", base=2)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.set_yticks(sizes, [f"{size} ×" for size in sizes])
        axes.minorticks_off()
        axes.grid(visible=True)
        axes.set_xlabel(f"GPUs that share every layer (tensor parallel)\n{note}", fontsize=9)
        axes.set_ylabel("speed, one GPU = 1")
        axes.set_title(title)
        axes.legend(fontsize=9, loc="upper left")
        said = "; ".join(
            f"{name}: {', '.join(f'{seconds:.2f} s on {size}' for size, seconds in points.items())}"
            for name, points in lines.items()
        )
        return Picture(figure, f"{title}. {said}. {note}")
