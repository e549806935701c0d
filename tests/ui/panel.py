"""The GPU panel as a reader finds it: by role, name and text."""

import re
from dataclasses import dataclass

from playwright.sync_api import Locator, Page, expect
from ui.browser import Watched
from ui.lab import Lab

# Figures in the status bar are of the last five seconds.
STATUS_MS = 10_000
CHANGE_THEME = "theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })"
# Counts every drawing of every chart: uPlot clears its canvas before each.
COUNT_DRAWINGS = """
window.drawings = 0;
const clear = CanvasRenderingContext2D.prototype.clearRect;
CanvasRenderingContext2D.prototype.clearRect = function (...box) {
  window.drawings += 1;
  return clear.apply(this, box);
};
"""


@dataclass(frozen=True)
class Card:
    """One GPU or the job: two readings and a chart."""

    node: Locator

    @property
    def busy(self) -> Locator:
        return self.node.locator(".wm-busy .wm-value")

    @property
    def memory(self) -> Locator:
        return self.node.locator(".wm-memory .wm-value")

    @property
    def chart(self) -> Locator:
        return self.node.get_by_role("img")

    @property
    def more(self) -> Locator:
        """What is folded away: open it with a click on its summary."""
        return self.node.locator("details.wm-more")

    @property
    def table(self) -> Locator:
        """The chart as a table, folded away as well."""
        return self.node.locator("details.wm-chart-table")

    def picture(self) -> str:
        """Return what the chart shows now, to be compared with what it shows later."""
        picture: str = self.chart.locator("canvas").evaluate("canvas => canvas.toDataURL()")
        return picture


@dataclass(frozen=True)
class Panel:
    """The panel in a page of Lab."""

    page: Page

    @property
    def node(self) -> Locator:
        return self.page.get_by_role("region", name="GPUs and this job, live")

    @property
    def tab(self) -> Locator:
        return self.page.locator(".jp-SideBar.jp-mod-left .lm-TabBar-tab[data-id=workshop-monitor]")

    def gpu(self, index: int) -> Card:
        return Card(self.node.get_by_role("region", name=f"GPU {index}"))

    def expect_gpus(self, count: int) -> None:
        """Return when so many GPUs have a card: all of the last ten minutes."""
        gpus = self.node.get_by_role("region", name=re.compile(r"^GPU \d+"))
        expect(gpus).to_have_count(count, timeout=45_000)

    def expect_gpus_now(self, count: int) -> None:
        """Return when this job has so many, of the newest sample; after a change they are counted in 30 s."""
        expect(self.status).to_contain_text(f"GPU {count} ×", timeout=45_000)

    @property
    def job(self) -> Card:
        return Card(self.node.get_by_role("region", name="CPU and main memory"))

    @property
    def warnings(self) -> Locator:
        """The sentences at the head of the panel."""
        return self.node.get_by_role("region", name="Warnings").get_by_role("listitem")

    @property
    def status(self) -> Locator:
        """The button in the status bar."""
        return self.page.locator(".wm-status-item").get_by_role("button")

    @property
    def notifications(self) -> Locator:
        """Lab's own notifications that are on the screen."""
        return self.page.locator(".Toastify__toast")

    def expect_live(self, seconds: float = 15) -> None:
        """Return when the job's CPU is shown, which every machine has."""
        expect(self.job.busy).to_have_text(re.compile(r"^\d+ %$"), timeout=seconds * 1000)

    def drawings(self) -> int:
        """Return how often a chart was drawn; the page needs COUNT_DRAWINGS as an init script."""
        drawings: int = self.page.evaluate("window.drawings")
        return drawings


def open_panel(watched: Watched, lab: Lab) -> Panel:
    """Open Lab as on a first visit, and return when the panel shows figures and nothing moves about."""
    panel = Panel(watched.open_lab(lab.url))
    panel.expect_live()
    # Until its layout is restored Lab moves the focus about.
    panel.page.evaluate("window.jupyterapp.restored.then(() => null)")
    return panel
