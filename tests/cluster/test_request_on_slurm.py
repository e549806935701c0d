"""Requests and jobs on a real Slurm in the shape of each site: what the planner asks for is given, and runs.

The cluster of UVA's shape has accounts and limits (slurmdbd) where that is installed.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster.plans import ACCOUNT, all_plans, first, site_of
from tests.cluster.planted import PLANTED, Planted
from tests.cluster.test_injection import EVIL, disturbed, requests
from tests.slurm.running import accounts_missing, missing, running_cluster
from tests.slurm.site_nodes import settings_of
from workshop_utils.cluster import submit
from workshop_utils.cluster.request import Request, request_of
from workshop_utils.cluster.sbatch_script import render
from workshop_utils.cluster.site_rules import check_script

pytestmark = pytest.mark.slow

# Below the ports that the system gives out, apart from other clusters', from another run's beside this one,
# and from those that jobs make of their first numbers.
PORTS = 23_000 + os.getpid() % 60 * 100
# A vLLM that serves /health with Python's own server, notes how it was started, and is asked once.
VLLM = """#!{python}
import json, os, sys
with open(f"vllm-{{sys.argv[1]}}-{{os.environ.get('SLURM_NODEID', '')}}", "w") as file:
    json.dump([sys.argv[1:], os.environ["VLLM_API_KEY"]], file)
if sys.argv[1] == "bench":
    sys.exit(print("asked"))
if "--headless" in sys.argv:
    import time
    time.sleep(60)
from http.server import BaseHTTPRequestHandler, HTTPServer
class Health(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Health).serve_forever()
"""


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Start a cluster for each site; yields its SLURM_CONF."""
    if reason := missing():
        pytest.skip(reason)
    accounts = "0" if accounts_missing() else "1"
    uva = settings_of(site_of("uva"), PORTS) | {"ACCT": accounts}
    example = settings_of(site_of("example"), PORTS + 50)
    with (
        running_cluster(tmp_path_factory.mktemp("uva"), **uva) as large,
        running_cluster(tmp_path_factory.mktemp("example"), **example) as small,
    ):
        yield {"uva": large["SLURM_CONF"], "example": small["SLURM_CONF"]}


@pytest.fixture
def uva(clusters: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make UVA's cluster the one that is asked, from a folder of the test's own."""
    monkeypatch.setenv("SLURM_CONF", clusters["uva"])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ended(job: str) -> list[str]:
    """Wait until all of a job is over; returns its states."""
    last = {state.job: state.state for state in submit.watch(job, every_s=0.2) if state.over}
    return list(last.values())


def output(folder: Path) -> str:
    return "".join(path.read_text() for path in sorted(folder.glob("*.out")))


def small(request: Request, **changed: object) -> Request:
    """Return a request that fits beside others on a test machine."""
    return replace(request, cores_per_node=2, memory_gib=2, hours=0.1, **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["uva", "example"])
def test_every_request_of_the_planner_is_accepted(
    name: str, clusters: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", clusters[name])
    site = site_of(name)
    hardest: dict[tuple[object, ...], Request] = {}
    for plan in all_plans(name):
        request = request_of(plan, site, ACCOUNT if site.account_required else None)
        assert {problem.kind for problem in check_script(render(request, site), site)} <= {"placeholder"}
        # Of requests for the same nodes, GPUs and cores, Slurm is asked about most memory and time at once.
        gpus = (request.group.name, request.nodes, request.gpus_per_node)
        shape = (*gpus, request.constraint, request.array is None)
        other = hardest.get(shape, request)
        assert other.cores_per_node == request.cores_per_node
        hardest[shape] = replace(
            request,
            memory_gib=max(request.memory_gib, other.memory_gib),
            hours=max(request.hours, other.hours),
        )
    assert {group for group, *_ in hardest} == {group.name for group in site.gpus}
    assert len(hardest) > (40 if name == "uva" else 12)
    for request in hardest.values():
        answer = submit.test_only(render(request, site), site)
        assert answer.accepted and answer.start and answer.nodes, (request, str(answer))


@pytest.mark.parametrize(
    "planted", PLANTED, ids=lambda each: f"{each.kind}-{each.site}-{'-'.join(each.changed)}"
)
def test_every_planted_error_is_caught_by_slurm_too(
    planted: Planted, clusters: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if planted.kind == "gpu_limit" and (reason := accounts_missing()):
        pytest.skip(reason)
    monkeypatch.setenv("SLURM_CONF", clusters[planted.site])
    answer = submit.test_only(planted.script(), site_of(planted.site))
    if planted.slurm is None:
        # Rules of a centre, which plain Slurm does not know.
        assert answer.accepted
        return
    assert not answer.accepted and answer.refusal
    assert planted.slurm in answer.refusal.said
    assert answer.refusal.advice


def test_what_slurm_takes_for_no_script(uva: Path) -> None:
    script = Planted("none", {}, (), None).script()
    for changed, said in (
        (script.replace("\n", "\r\n"), "DOS line breaks"),
        (script[2:], "not look like a batch"),
    ):
        answer = submit.test_only(changed)
        assert answer.refusal and said in answer.refusal.said and answer.refusal.advice


def test_the_scripts_that_are_planted_differ_by_their_error_only(uva: Path) -> None:
    for name in ("uva", "example"):
        good = Planted("none", {}, (), None, name)
        assert check_script(good.script(), site_of(name)) == []
    assert submit.test_only(Planted("none", {}, (), None).script()).accepted


def test_a_job_runs_from_a_rendered_script_with_its_caches_off_the_home_folder(
    uva: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, site = first("uva", "smollm2-135m", gpu="A40", data=1)
    for name in ("HF_HOME", "TRITON_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    shown = "$HF_HOME|$TRITON_CACHE_DIR|$CUDA_VISIBLE_DEVICES|$SLURM_CPUS_PER_TASK"
    command = ("bash", "-c", f'echo "{shown}"; command -v torchrun')
    script = render(small(request, command=command), replace(site, scratch=f"{uva}/scratch"))
    job = submit.submit(script, site)
    assert ended(job) == ["COMPLETED"]
    line, torchrun = output(uva).split()
    assert line == f"{uva}/scratch/huggingface|{uva}/scratch/triton|0|2"
    assert torchrun == f"{Path(sys.executable).parent}/torchrun"
    assert (uva / f"smollm2-135m-{job}.out").is_file()


def test_two_nodes_find_one_another_and_add_up_right(uva: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: only then has each node of the test's cluster a name that leads to it")
    request, site = first("uva", "llama-3.1-70b", nodes=2, data=1)
    assert request.launcher == "torchrun"
    job = submit.submit(render(small(request, gpus_per_node=1), replace(site, scratch=None)), site)
    assert ended(job) == ["COMPLETED"], output(uva)
    assert "2 ranks on 2 nodes: 1 + … + 2 = 3, right" in output(uva)


def test_an_array_gives_each_job_its_share_of_the_prompts(uva: Path) -> None:
    request, site = first("uva", "smollm2-135m", gpu="A40", data=2)
    script = render(small(request, command=("true",)), site)
    share = next(line for line in script.splitlines() if line.startswith("# awk "))
    (uva / "prompts.txt").write_text("a\nb\nc\nd\ne\n")
    job = submit.submit(script.replace("srun true", share.removeprefix("# ")), site)
    assert ended(job) == ["COMPLETED", "COMPLETED"]
    said = [path.read_text().split("\n", 1) for path in sorted(uva.glob("*.out"))]
    assert [head for head, _ in said] == ["replica 0 of 2", "replica 1 of 2"]
    assert sorted("".join(rest for _, rest in said).split()) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_server_is_started_asked_and_ended(nodes: int, uva: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (uva / "bin").mkdir()
    (uva / "bin" / "vllm").write_text(VLLM.format(python="/usr/bin/python3 -IS"))
    (uva / "bin" / "vllm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{uva}/bin:{os.environ['PATH']}")
    request, site = first("uva", "smollm2-135m", "vllm", gpu="A40", data=1)
    script = render(small(request, nodes=nodes, gpus_per_node=1), site).replace("sleep 5", "sleep 0.2")
    job = submit.submit(script, site)
    assert ended(job) == ["COMPLETED"], output(uva)
    assert "asked" in output(uva)
    servers = {path.name: eval(path.read_text()) for path in uva.glob("vllm-serve-*")}
    assert len(servers) == nodes
    words, key = servers["vllm-serve-0"]
    assert words[:2] == list(request.command[1:3]) and len(key) == 32 and "--host" in words
    if nodes == 2:
        others, _ = servers["vllm-serve-1"]
        assert others[-1] == "--headless" and "--headless" not in words
        assert [found[found.index("--node-rank") + 1] for found in (words, others)] == ["0", "1"]
        assert words[words.index("--master-addr") + 1] == others[others.index("--master-addr") + 1]


@pytest.mark.parametrize("kind", ["srun", "torchrun", "vllm"])
def test_slurm_reads_no_more_options_than_were_meant(kind: str, uva: Path) -> None:
    request, site = requests()[kind]
    for at, evil in enumerate(EVIL):
        script = render(*disturbed(request, site, evil, evil, [evil, EVIL[at - 1]]))
        answer = submit.test_only(script, site)
        assert answer.accepted, (evil, str(answer))
    assert list(uva.iterdir()) == []


def test_a_jobs_name_is_what_slurm_shows(uva: Path) -> None:
    request, site = first("uva", "smollm2-135m", gpu="A40", data=1)
    evil = "\n#SBATCH --partition=nope\n$(touch marker) `touch marker` 'x' \"y\""
    job = submit.submit(render(small(request, job_name=evil, command=("true",)), site), site)
    shown = subprocess.run(
        ["squeue", "--states=all", f"--jobs={job}", "--noheader", "--format=%j|%P"], capture_output=True,
        text=True, check=True,
    ).stdout.strip()  # fmt: skip
    assert shown == "SBATCH---partition-nope-touch-marker-touch-marker-x-y|gpu"
    assert ended(job) == ["COMPLETED"]
    assert not (uva / "marker").exists()


def test_submitting_from_inside_a_job(uva: Path) -> None:
    """The outer job's variables would end the inner srun: memory by node and by core exclude one another."""
    inner = (
        "#!/bin/bash\n#SBATCH -A mygroup -p gpu --gres=gpu:a40:1 -n1 --mem-per-cpu=1G -t 5 -o inner.out\n"
        "srun echo reached $SLURM_MEM_PER_NODE\n"
    )
    (uva / "inner.sh").write_text(inner)
    ask = f"{sys.executable} -P -m workshop_utils request --check inner.sh --site uva --submit --yes"
    # As Open OnDemand submits: nothing of the environment follows.
    outer = (
        "#!/bin/bash\n#SBATCH -A mygroup -p gpu -J outer -N 1 --ntasks-per-node=2 --mem=2G -t 5 -o outer.out "
        f"--export=NONE\nexport SLURM_CONF={os.environ['SLURM_CONF']}\n{ask}\n"
    )
    assert ended(submit.submit(outer)) == ["COMPLETED"], (uva / "outer.out").read_text()
    said = (uva / "outer.out").read_text()
    assert "Submitted as job " in said
    assert ended(said.split("Submitted as job ")[1].split(";")[0]) == ["COMPLETED"], (
        uva / "inner.out"
    ).read_text()
    assert (uva / "inner.out").read_text().split() == ["reached"]


def test_srun_finds_its_environment_where_open_ondemand_took_it_away(uva: Path) -> None:
    request, site = first("uva", "smollm2-135m", gpu="A40", data=1)
    script = render(small(request, command=("hostname",)), site)
    script = script.replace("\n#SBATCH --partition", "\n#SBATCH --export=NONE\n#SBATCH --partition")
    assert ended(submit.submit(script, site)) == ["COMPLETED"], output(uva)
    assert output(uva).strip()


def workshop(*words: str, answer: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "workshop_utils", "request", *words], input=answer, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip


def test_submit_watch_and_cancel_from_the_command_line(uva: Path) -> None:
    script = "#!/bin/bash\n#SBATCH -A mygroup -p gpu --gres=gpu:v100:1 -t 5 -o out\nsleep 50\n"
    (uva / "my job.sh").write_text(script)
    done = workshop("--check", "my job.sh", "--site", "uva", "--submit", answer="y\n")
    assert done.returncode == 0 and script in done.stdout, done.stderr
    assert "Slurm accepts it: expected to start at 20" in done.stdout
    job = done.stdout.split("Submitted as job ")[1].split(";")[0]
    assert submit.job_states(job)
    while submit.job_states(job)[0].state == "PENDING":
        time.sleep(0.1)
    kept = workshop("--cancel", job, answer="n\n")
    assert kept.returncode == 1 and f"job {job} running after" in kept.stdout
    assert not submit.job_states(job)[0].over
    assert workshop("--cancel", job, answer="y\n").stdout.endswith(f"Job {job} is ended.\n")
    watched = workshop("--watch", job)
    assert watched.returncode == 1 and f"job {job} cancelled" in watched.stdout
    assert "waits or runs" in workshop("--cancel", job, "--yes").stderr


def test_the_first_plan_is_checked_by_site_and_slurm(uva: Path) -> None:
    done = workshop("smollm2-135m", "--site", "uva", "--account", ACCOUNT, "--json")
    assert done.returncode == 0, done.stderr
    assert '"accepted": true' in done.stdout


def test_an_account_that_does_not_exist(uva: Path) -> None:
    if reason := accounts_missing():
        pytest.skip(reason)
    request, site = first("uva", "smollm2-135m", gpu="A40", data=1)
    answer = submit.test_only(render(replace(request, account="nobody"), site), site)
    assert answer.refusal and answer.refusal.said.startswith("Invalid account")
    assert "sacctmgr show associations" in answer.refusal.advice
