"""What the ``#SBATCH`` lines of a script ask for, whoever wrote it.

Read as sbatch reads them (https://slurm.schedmd.com/sbatch.html): lines that begin with ``#SBATCH`` before
the first command, words as a shell parts them, the last of several wins.
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

# Options that take a value, by their letters. Of a long name, sbatch takes any beginning that is clear.
LETTERS = {
    "a": "array", "A": "account", "b": "begin", "B": "extra-node-info", "c": "cpus-per-task",
    "C": "constraint", "d": "dependency", "D": "chdir", "e": "error", "F": "nodefile", "G": "gpus",
    "i": "input", "J": "job-name", "L": "licenses", "m": "distribution", "M": "clusters", "n": "ntasks",
    "N": "nodes", "o": "output", "p": "partition", "q": "qos", "S": "core-spec", "t": "time",
    "w": "nodelist", "x": "exclude",
}  # fmt: skip
LONG_ONLY = (
    "acctg-freq", "batch", "bb", "bbf", "cluster-constraint", "comment", "container", "container-id",
    "cores-per-socket", "cpu-freq", "cpus-per-gpu", "deadline", "delay-boot", "export", "export-file",
    "extra", "gid", "gpu-bind", "gpu-freq", "gpus-per-node", "gpus-per-socket", "gpus-per-task", "gres",
    "gres-flags", "hint", "mail-type", "mail-user", "mcs-label", "mem", "mem-bind", "mem-per-cpu",
    "mem-per-gpu", "mincpus", "network", "ntasks-per-core", "ntasks-per-gpu", "ntasks-per-node",
    "ntasks-per-socket", "oom-kill-step", "open-mode", "power", "prefer", "priority", "profile",
    "reservation", "resv-ports", "segment", "signal", "sockets-per-node", "switches", "thread-spec",
    "threads-per-core", "time-min", "tmp", "tres-bind", "tres-per-task", "uid", "wait-all-nodes", "wckey",
    "wrap",
)  # fmt: skip
# Long ones that stand alone, or take a value only after =.
FLAGS = (
    "consolidate-segments", "contiguous", "exclusive", "get-user-env", "help", "hold", "ignore-pbs",
    "kill-on-invalid-dep", "no-kill", "no-requeue", "nice", "overcommit", "oversubscribe", "parsable",
    "propagate", "quiet", "reboot", "requeue", "share", "spread-job", "spread-segments", "stepmgr",
    "test-only", "usage", "use-min-nodes", "verbose", "version", "wait",
)  # fmt: skip
VALUED = (*LETTERS.values(), *LONG_ONLY)
KNOWN = (*VALUED, *FLAGS)
# A comment whose first word is followed by an option: `# SBATCH -p gpu` and `#SBTACH --nodes=2`. A second #
# in front is how options are switched off.
NEARLY = re.compile(r"\s*#\s*([A-Za-z]{5,8})\s+--?[A-Za-z]")


@dataclass(frozen=True)
class Option:
    """An option's value, as written, and the number of its line, from 1."""

    value: str
    line: int


@dataclass(frozen=True)
class ScriptOptions:
    """The options by their long names. ``late``: lines with #SBATCH too far down; ``nearly``: near-misses."""

    options: Mapping[str, Option]
    late: tuple[int, ...]
    nearly: tuple[int, ...]

    def value(self, name: str) -> str | None:
        option = self.options.get(name)
        return None if option is None else option.value

    def line(self, *names: str) -> int | None:
        """Return the line of the first of these options that is there."""
        return next((self.options[name].line for name in names if name in self.options), None)


def read_options(script: str) -> ScriptOptions:
    """Return what a script asks for; a line that no shell could part is taken as it is."""
    options: dict[str, Option] = {}
    late, nearly, begun = [], [], False
    for number, line in enumerate(script.replace("\r\n", "\n").split("\n"), 1):
        if line.startswith("#SBATCH"):
            if begun:
                late.append(number)
            else:
                options |= {
                    name: Option(value, number) for name, value in named(words(line[len("#SBATCH") :]))
                }
        elif line.strip() and not line.lstrip().startswith("#"):
            begun = True
        elif not begun and is_nearly(line):
            nearly.append(number)
    return ScriptOptions(options, tuple(late), tuple(nearly))


def is_nearly(line: str) -> bool:
    """Return whether a comment was meant to be one of Slurm's lines."""
    match = NEARLY.match(line)
    return match is not None and bool(get_close_matches(match[1].upper(), ["SBATCH"], cutoff=0.8))


def words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # a quote that nothing closes
        return line.split()


def named(line: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the long names and values of the options of one line."""
    rest = iter(line)
    for word in rest:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            name = full_name(name)
            if not equals and name in VALUED:
                value = next(rest, "")
            yield name, value
        elif re.match("-[A-Za-z]", word) and word[1] in LETTERS:
            yield LETTERS[word[1]], word[2:].removeprefix("=") or next(rest, "")


def full_name(name: str) -> str:
    """Return the one option that begins so, as getopt does; the name itself where none or several do."""
    if name in KNOWN:
        return name
    found = [each for each in KNOWN if each.startswith(name)]
    return found[0] if len(found) == 1 else name
