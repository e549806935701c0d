"""Free GPUs: what Slurm has now, by type, and why some that are free cannot be had; a button asks anew."""

import time
from typing import Any

import ipywidgets

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
        self.result = ipywidgets.HTML()
        self._nodes: Nodes | None = None
        self._said = ""
        self.refresh.on_click(lambda _: self.ask())
        for control in (self.cores, self.memory):
            control.observe(lambda _: self._show(), names="value")
        self.ask()

    def ask(self) -> None:
        """Ask Slurm and show its answer, or why there is none."""
        self.refresh.disabled = True
        try:
            self._nodes = ask_nodes()
            self._said = time.strftime("Asked at %H:%M:%S.")
        except WorkshopError as error:
            self._nodes, self._said = None, str(error)
        finally:
            self.refresh.disabled = False
        self._show()

    def tables(self) -> list[Table]:
        """Return the table of types, and that of nodes whose free GPUs cannot all be had."""
        if self._nodes is None:
            return [Table((), (), self._said)]
        wanted = (self.cores.value, round(self.memory.value * GB))
        rows = [
            (row["type"], row["features"], f"{row['total']}", f"{row['free']}", f"{row['usable']}",
             f"{row['usable_on_one_node']}")
            for row in summary(self._nodes.nodes, *wanted)
        ]  # fmt: skip
        headers = ("type", "features", "GPUs", "free", "usable", "most on one node")
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
        controls = ipywidgets.HBox([self.cores, self.memory, self.refresh], layout={"flex_flow": "row wrap"})
        text = "\n\n".join(repr(table) for table in self.tables())
        return with_fallback(ipywidgets.VBox([controls, self.result]), self.result.value, text)
