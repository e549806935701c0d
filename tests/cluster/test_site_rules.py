"""Scripts against a site file: every planted error is found, alone, and good ones pass."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cluster.plans import ACCOUNT, all_plans, site_of
from tests.cluster.planted import GOOD, PLANTED, Planted
from workshop_utils.cluster.request import request_of
from workshop_utils.cluster.sbatch_script import render
from workshop_utils.cluster.script_asks import Asks
from workshop_utils.cluster.script_options import read_options
from workshop_utils.cluster.site_rules import check_script

UVA = site_of("uva")


def named(planted: Planted) -> str:
    return f"{planted.kind}-{planted.site}-{'-'.join(planted.changed)}"


@pytest.mark.parametrize("planted", PLANTED, ids=named)
def test_every_planted_error_is_found_with_its_advice(planted: Planted) -> None:
    problems = check_script(planted.script(), site_of(planted.site))
    assert [problem.kind for problem in problems] == [planted.kind]
    (problem,) = problems
    assert all(words in problem.sentence for words in planted.words), problem.sentence
    assert problem.sentence.endswith(".") and "; " in problem.sentence
    if problem.line:
        line = planted.script().splitlines()[problem.line - 1]
        assert any(f"--{name}=" in line for name in (*planted.changed, "gres"))


def test_there_are_the_kinds_of_the_table() -> None:
    assert len({planted.kind for planted in PLANTED}) >= 16


@pytest.mark.parametrize("site", ["uva", "example"])
def test_nothing_is_found_in_what_the_planner_asks_for(site: str) -> None:
    for plan in all_plans(site):
        script = render(request_of(plan, site_of(site), ACCOUNT), site_of(site))
        own = ["placeholder"] if plan.dtype.startswith("awq") else []
        assert [problem.kind for problem in check_script(script, site_of(site))] == own


def test_a_placeholder_for_the_account_is_found() -> None:
    script = render(request_of(all_plans("uva")[0], UVA), UVA)
    assert [problem.kind for problem in check_script(script, UVA)] == ["account"]


def header(*lines: str) -> str:
    return "\n".join(["#!/bin/bash", "", "# mine", *(f"#SBATCH {line}" for line in lines), "srun hostname"])


@pytest.mark.parametrize(
    ("lines", "gpus", "nodes", "cores", "hours"),
    [
        (["-A x -p gpu -N 2 --gres=gpu:a40:4 -c 8 -t 90"], 4, 2, 8, 1.5),
        (["-Ax -pgpu -N2 --gpus-per-node a40:4 -n16 -c2 -t1-12"], 4, 2, 16, 36.0),
        (
            ["--account=x", "--part=gpu", "--nodes=2-4", "-G 8", "--cpus-per-gpu=4", "-t 30:30"],
            4,
            2,
            16,
            30.5 / 60,
        ),
        (["-A x -p gpu --ntasks-per-node=4 --gpus-per-task=a40:1 --time=2:00:00 # two hours"], 4, 1, 4, 2.0),
        (
            ["--requeue --exclusive -A 'x' --partition gpu", "--gres gpu:a40:1,nvme:2", "--gres=gpu:a40"],
            1,
            1,
            1,
            None,
        ),
        (["-A x", "-p gpu", "--gres=gpu:2", "--gres=gpu:3"], 3, 1, 1, None),
        (["-A x", "-p gpu", "--gres=gpu:a40:2", "--gpus-per-node=a40:2"], 2, 1, 1, None),
    ],
)
def test_long_and_short_options_are_read_as_sbatch_reads_them(
    lines: list[str], gpus: int, nodes: int, cores: int, hours: float | None
) -> None:
    asks = Asks(read_options(header(*lines)))
    assert (asks.gpus_per_node, asks.nodes, asks.cores_per_node) == (gpus, nodes, cores)
    assert asks.hours == (pytest.approx(hours) if hours else None)
    assert asks.options.value("account") == "x" and asks.options.value("partition") == "gpu"
    assert check_script(header(*lines), UVA) == []


@pytest.mark.parametrize(
    ("lines", "gib"), [(["--mem=512"], 0.5), (["--mem=2g"], 2), (["--mem-per-cpu=1G -c 4"], 4), ([], None),
    (["--mem-per-gpu=8G --gres=gpu:2"], 16), (["--mem=1T"], 1024), (["--mem=0"], 0)],
)  # fmt: skip
def test_memory(lines: list[str], gib: float | None) -> None:
    found = Asks(read_options(header(*lines))).memory_bytes
    assert found == (None if gib is None else gib * 2**30)


@pytest.mark.parametrize(
    ("changed", "kind", "line"),
    [
        (lambda script: script.replace("\n", "\r\n"), "line_ends", 1),
        (lambda script: script.removeprefix("#!/bin/bash\n"), "first_line", 1),
        (lambda script: "\n" + script, "first_line", 1),
    ],
)
def test_what_slurm_takes_for_no_script(changed, kind: str, line: int) -> None:  # type: ignore[no-untyped-def]
    script = "#!/bin/bash\n" + "".join(f"#SBATCH --{name}={value}\n" for name, value in GOOD.items())
    assert check_script(script, UVA) == []
    (problem,) = check_script(changed(script), UVA)
    assert (problem.kind, problem.line) == (kind, line)


NAMES = (
    "gres", "nodes", "mem", "time", "gpus", "cpus-per-task", "constraint", "partition", "gpus-per-node",
    "ntasks",
)  # fmt: skip
LIKELY = st.text("0123456789:-,()|&[]*agpu ", max_size=20)
VALUES = st.one_of(st.text(max_size=12), LIKELY, st.just("9" * 5000), st.just("gpu:٣"))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=6), st.text(max_size=40))
def test_whatever_a_script_says_it_is_checked(options: list[tuple[str, str]], rest: str) -> None:
    script = "#!/bin/bash\n" + "".join(f"#SBATCH --{name}={value}\n" for name, value in options) + rest
    for problem in check_script(script, UVA):
        assert problem.sentence.endswith(".")


def test_options_below_the_first_command_are_named() -> None:
    script = header(*(f"--{name}={value}" for name, value in GOOD.items())) + "\n#SBATCH --nodes=4\n"
    (problem,) = check_script(script, UVA)
    assert (problem.kind, problem.line) == ("late_line", len(script.splitlines()))


@pytest.mark.parametrize(
    "script", ["", "\n", "hostname", "#!/bin/bash\n#SBATCH", "#SBATCH --gres 'gpu", "#SBATCH -\n"]
)
def test_whatever_is_no_script_is_checked_all_the_same(script: str) -> None:
    assert "no_partition" in {problem.kind for problem in check_script(script, UVA)}


GOOD_LINES = tuple(f"--{name}={value}" for name, value in GOOD.items())


@pytest.mark.parametrize(
    ("lines", "kind", "words"),
    [
        (["-A YOUR_ALLOCATION"], "placeholder", "YOUR_ALLOCATION stands for your own allocation; put"),
        (["--memory=64G"], "option", "sbatch has no option --memory; write --mem."),
        (["--cpu-per-task=4"], "option", "sbatch has no option --cpu-per-task; write --cpus-per-task."),
        (["--gpus-pernode=1"], "option", "write --gpus-per-node."),
        (["--xyzzy"], "option", "sbatch has no option --xyzzy; take it away"),
        (
            ["--gres=gpu:2", "--gpus-per-node=a40:2"],
            "gpus_twice",
            "--gpus-per-node ask for different",
        ),
        (["--gres=gpu:a100:1", "--mem=9000G"], "memory", "9000 GiB of CPU memory are more than the 1863 GiB"),
        (["--nodes = 2"], "malformed", "'=' after --nodes is no number of nodes; write --nodes=2."),
        (["--gres=gpu:a100:9"], "gpus_per_node", "the 8 that a node with a100 has"),
    ],
)
def test_what_readers_get_wrong_is_named_with_its_line(lines: list[str], kind: str, words: str) -> None:
    script = header(*GOOD_LINES, *lines)
    (problem,) = check_script(script, UVA)
    assert problem.kind == kind and words in problem.sentence
    assert problem.line == len(script.splitlines()) - 1


@pytest.mark.parametrize(
    "line", ["#SBTACH --nodes=2", "# SBATCH --nodes=2", "#sbatch -N 2", " #SBATCH -N 2", "#SBATH -N 2"]
)
def test_near_misses_of_sbatch_are_named(line: str) -> None:
    script = header(*GOOD_LINES).replace("\nsrun", f"\n{line}\nsrun")
    (problem,) = check_script(script, UVA)
    assert (problem.kind, problem.line) == ("near_miss", len(script.splitlines()) - 1)
    assert problem.sentence.startswith(repr(line.split("-", maxsplit=1)[0].rstrip()))


@pytest.mark.parametrize(
    "line",
    [
        "##SBATCH --nodes=2",
        "# SBATCH lines come first",
        "# batches of 4",
        "# Switch -N off",
        "srun # SBATCH -N 2",
    ],
)
def test_other_comments_are_left_alone(line: str) -> None:
    assert check_script(header(*GOOD_LINES).replace("\nsrun", f"\n{line}\nsrun"), UVA) == []


def test_a_script_without_gpus_is_told_of_one_that_is_not_scarce() -> None:
    script = header("-A x -p gpu -t 60")
    (problem,) = check_script(script, UVA)
    assert problem.sentence == "the script asks for no GPU and gets none; add --gres=gpu:a6000:1."
