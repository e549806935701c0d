"""Rules about a script's lines: whether Slurm reads them, and whether they are complete."""

import re
from collections.abc import Iterator
from difflib import get_close_matches

from workshop_utils.cluster.programs import OWN_CHECKPOINT
from workshop_utils.cluster.script_options import KNOWN
from workshop_utils.cluster.site_case import Case, Problem


def batch_script(case: Case) -> Iterator[Problem]:
    """Refuse what Slurm does not take for a script at all."""
    if not case.script.startswith("#!"):
        first = case.script.split("\n", 1)[0][:40]
        yield Problem(
            "first_line", f"the first line is {first!r}, not that of a script; put #!/bin/bash before it.", 1
        )
    if "\r\n" in case.script:
        line = case.script[: case.script.index("\r\n")].count("\n") + 1
        yield Problem(
            "line_ends",
            "the file has Windows' line ends, which Slurm does not take; change them with "
            "`sed -i 's/\\r$//' FILE`.",
            line,
        )


def late_lines(case: Case) -> Iterator[Problem]:
    """Refuse options below the first command, which Slurm does not read."""
    for line in case.options.late:
        yield Problem(
            "late_line",
            "this #SBATCH stands below the first command, where Slurm does not read it; move it up.",
            line,
        )


def near_misses(case: Case) -> Iterator[Problem]:
    """Refuse comments that look like Slurm's lines and are none."""
    for line in case.options.nearly:
        word = case.script.split("\n")[line - 1].split("-")[0].rstrip()
        yield Problem(
            "near_miss",
            f"{word!r} is a comment, which Slurm does not read; begin the line with #SBATCH.",
            line,
        )


def unknown_options(case: Case) -> Iterator[Problem]:
    """Refuse long options that sbatch does not have."""
    for name, option in case.options.options.items():
        if name and name not in KNOWN:
            # Else a word that goes on where an option ends, such as memory.
            begun = sorted((each for each in KNOWN if name.startswith(each)), key=len, reverse=True)
            close = get_close_matches(name, KNOWN, n=1, cutoff=0.8) or begun or get_close_matches(name, KNOWN)
            remedy = f"write --{close[0]}" if close else "take it away (`sbatch --help` lists what it has)"
            yield Problem("option", f"sbatch has no option --{name}; {remedy}.", option.line)


def own_checkpoint(case: Case) -> Iterator[Problem]:
    """Refuse a name that stands for a checkpoint of the reader's own, once."""
    for number, line in enumerate(case.script.split("\n"), 1):
        match = re.search(rf"(?<!\S){OWN_CHECKPOINT}[A-Z0-9_]+(?!\S)", line)
        if match and not line.lstrip().startswith("#"):
            yield Problem(
                "placeholder",
                f"{match[0]} stands for a quantised checkpoint of your own; put its name or folder there, "
                "wherever it stands.",
                number,
            )
            return


LINE_RULES = (batch_script, late_lines, near_misses, unknown_options, own_checkpoint)
