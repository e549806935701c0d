"""Free GPUs: what Slurm has now, why some that are free cannot be had, and when a job could start."""

import time
from typing import Any

import ipywidgets

from workshop_utils.cluster.expected_start import expected_start
from workshop_utils.cluster.gpus_command import node_lines, summary
from workshop_utils.cluster.nodes import Nodes, ask_nodes
from workshop_utils.errors import WorkshopError
from workshop_utils.lessons.fallback import with_fallback
from workshop_utils.lessons.table import Table
from workshop_utils.units import GB

WHOLE = {"description_width": "initial"}  # labels are not cut


class FreeGpus:
    """Shows itself in a notebook. Slurm is asked when it is made and when the button is pressed."""

    def __init__(self, cores: int = 4, memory_gb: float = 16) -> None:
        """Start with the cores and the main memory (decimal GB) that a job wants beside each GPU."""
        self.cores = ipywidgets.BoundedIntText(
            cores, min=1, max=1024, description="Cores each", style=WHOLE, layout={"width": "13em"}
        )
        self.memory = ipywidgets.BoundedFloatText(
            memory_gb, min=0, max=10**5, description="Memory each, GB", style=WHOLE, layout={"width": "17em"}
        )
        self.refresh = ipywidgets.Button(description="Ask Slurm again", tooltip="one sinfo")
        self.hours = ipywidgets.BoundedFloatText(
            1, min=0.1, max=10**4, description="Hours", style=WHOLE, layout={"width": "10em"}
        )
        self.account = ipywidgets.Text(
            description="Allocation", placeholder="if the centre wants one", style=WHOLE,
            layout={"width": "22em"},
        )  # fmt: skip
        self.when = ipywidgets.Button(
            description="When could one start?", layout={"width": "14em"},
            tooltip="asks Slurm for each type (sbatch --test-only), and submits nothing",
        )  # fmt: skip
        self.result = ipywidgets.HTML()
        self._nodes: Nodes | None = None
        self._said = ""
        self._starts: dict[str, str] = {}
        self.refresh.on_click(lambda _: self.ask())
        self.when.on_click(lambda _: self.ask_starts())
        for control in (self.cores, self.memory):
            control.observe(lambda _: self._show(), names="value")
        self.ask()

    def ask(self) -> None:
        """Ask Slurm and show its answer, or why there is none."""
        self.refresh.disabled = True
        self._starts = {}
        try:
            self._nodes = ask_nodes()
            self._said = time.strftime("Asked at %H:%M:%S.")
        except WorkshopError as error:
            self._nodes, self._said = None, str(error)
        finally:
            self.refresh.disabled = False
        self._show()

    def ask_starts(self) -> None:
        """Ask when a job with one GPU of each type would start; the column fills as the answers come."""
        types = [row["type"] for row in summary(self._nodes.nodes, 1, 0)] if self._nodes else []
        words, self.when.disabled = self.when.description, True
        try:
            for number, gpu in enumerate(types, start=1):
                self.when.description = f"asking, {number} of {len(types)} …"
                self._starts[gpu] = self._start_of(gpu)
                self._show()
        finally:
            self.when.description, self.when.disabled = words, False

    def _start_of(self, gpu: str) -> str:
        assert self._nodes is not None
        try:
            return expected_start(
                gpu, self._nodes.nodes, cores=self.cores.value, memory_bytes=round(self.memory.value * GB),
                hours=self.hours.value, account=self.account.value.strip() or None,
            )  # fmt: skip
        except WorkshopError as error:
            return str(error)

    def tables(self) -> list[Table]:
        """Return the table of types, and that of nodes whose free GPUs cannot all be had."""
        if self._nodes is None:
            return [Table((), (), self._said)]
        wanted = (self.cores.value, round(self.memory.value * GB))
        rows = [
            (row["type"], row["features"], f"{row['total']}", f"{row['free']}", f"{row['usable']}",
             f"{row['usable_on_one_node']}", *([self._starts.get(row["type"], "…")] if self._starts else []))
            for row in summary(self._nodes.nodes, *wanted)
        ]  # fmt: skip
        starts = ("one could start",) if self._starts else ()
        headers = ("type", "features", "GPUs", "free", "usable", "most on one node", *starts)
        unread = f" {len(self._nodes.unread)} lines could not be read." if self._nodes.unread else ""
        types = Table(
            headers, rows, f"{self._said} Other jobs may wait for them already.{unread}", text_columns=2
        )
        lines = node_lines(self._nodes.nodes, *wanted)
        why = [
            (line["node"], line["type"], line["why"], f"{line['free']}", f"{line['usable']}")
            for line in lines
            if line["why"] and line["free"]
        ]
        return [types, Table(("node", "type", "why not usable", "free", "usable"), why, text_columns=3)]

    def _show(self) -> None:
        self.result.value = "".join(table._repr_html_() for table in self.tables())

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        controls = ipywidgets.HBox(
            [self.cores, self.memory, self.refresh, self.hours, self.account, self.when],
            layout={"flex_flow": "row wrap"},
        )
        text = "\n\n".join(repr(table) for table in self.tables())
        return with_fallback(ipywidgets.VBox([controls, self.result]), self.result.value, text)
