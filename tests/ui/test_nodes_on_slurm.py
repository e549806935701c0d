"""A notebook's kernel shows the other node of a real Slurm job in the panel, until the kernel ends."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from nvml_stub.build import set_faults
from playwright.sync_api import expect
from slurm.small_cluster import small_cluster
from ui.browser import Watched
from ui.conftest import Stub
from ui.lab import Lab
from ui.panel import open_panel
from ui.test_nodes import node, row

HERE, OTHER = "wn-here", "wn-other"
SHOW = "from workshop_utils.monitor.show_nodes import show_nodes\nnodes = show_nodes()\nprint('shown')"
START_KERNEL = """async code => {
  const session = await window.jupyterapp.serviceManager.sessions.startNew({
    path: 'plan.ipynb', type: 'notebook', name: 'plan', kernel: { name: 'python3' } });
  const future = session.kernel.requestExecute({ code });
  let said = '';
  future.onIOPub = message => { said += message.content.text ?? message.content.evalue ?? ''; };
  await future.done;
  window.session = session;
  return said;
}"""
# The stub driver's control file of each node.
SITE = 'import os; os.environ["NVML_STUB_CONTROL"] = "{folder}/" + os.environ.get("SLURMD_NODENAME", "")\n'


@pytest.fixture
def job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return what tells a process that it runs on the first node of a job of two."""
    with small_cluster(tmp_path_factory.mktemp("slurm"), HERE, OTHER) as environment:
        options = ["--parsable", "--partition=gpu", "--nodes=2", "--gres=gpu:1", "--mem=1G"]
        done = subprocess.run(
            ["sbatch", *options, "--output=/dev/null", "--wrap=sleep 300"], env=environment,
            capture_output=True, text=True, check=True, timeout=30,
        )  # fmt: skip
        yield {
            "SLURM_CONF": environment["SLURM_CONF"], "SLURM_JOB_ID": done.stdout.strip(),
            "SLURMD_NODENAME": HERE, "SLURM_EXPORT_ENV": "NONE", "CUDA_VISIBLE_DEVICES": "0",
        }  # fmt: skip


@pytest.fixture
def lab(job: dict[str, str], stub: Stub, tmp_path: Path) -> Iterator[Lab]:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SITE.format(folder=site))
    for name, percent in ((HERE, 11), (OTHER, 73)):
        set_faults(site / name, "gpus 2", f"utilization {percent}", f"memory_used {60 * 2**30}")
    with Lab(tmp_path / "lab", stub.environment | job | {"PYTHONPATH": str(site)}) as started:
        yield started


def collectors(lab: Lab) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get("JUPYTER_RUNTIME_DIR") == str(lab.home / "runtime")
            if ours and process.status() != psutil.STATUS_ZOMBIE and "collector" in process.cmdline()[-1]:
                found.append(process)
        except (psutil.Error, IndexError):
            continue
    return found


def test_a_kernel_shows_the_other_node_until_it_ends(watched: Watched, lab: Lab, output: Path) -> None:
    panel = open_panel(watched, lab)
    panel.expect_gpus(2)
    expect(panel.gpu(0).busy).to_have_text("11 %")
    expect(panel.gpu(1).node.get_by_role("heading")).to_contain_text("not in this job")
    assert "shown" in panel.page.evaluate(START_KERNEL, SHOW)
    card = node(panel, OTHER)
    expect(row(card, "GPU 0")).to_contain_text("73 %", timeout=20_000)
    expect(row(card, "GPU 0")).to_contain_text("60.0 of 140 GiB")
    expect(row(card, "GPU 1")).to_contain_text("not in this job")
    expect(row(card, "CPU, RAM")).to_contain_text(" GiB")
    assert collectors(lab)
    card.scroll_into_view_if_needed()
    panel.page.screenshot(path=output / "panel-nodes-slurm.png")
    panel.page.evaluate("window.session.shutdown()")
    others = panel.node.get_by_role("region", name="Other nodes of this job")
    expect(others).to_contain_text("was ended by the notebook", timeout=20_000)
    deadline = time.monotonic() + 15
    while collectors(lab):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert watched.our_complaints() == []
