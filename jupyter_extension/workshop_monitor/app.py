"""The extension as Jupyter Server loads it: one sampler, three read-only routes, a clean end."""

import asyncio
from typing import Any

from jupyter_server.extension.application import ExtensionApp

from workshop_monitor.broadcast import Broadcast
from workshop_monitor.handlers import SETTING, HistoryHandler, SnapshotHandler, StreamHandler
from workshop_monitor.kernels import kernel_processes
from workshop_utils.monitor.sampler import Sampler


class WorkshopMonitor(ExtensionApp):  # type: ignore[misc]
    """Adds ``workshop-monitor/…`` under the server's base URL. Nothing is sampled until somebody looks."""

    name = "workshop_monitor"

    def initialize_settings(self) -> None:
        """Make the sampler that all handlers of this server share."""
        self.settings[SETTING] = Broadcast(Sampler(), lambda: kernel_processes(self.settings))

    def initialize_handlers(self) -> None:
        """Register the routes; Jupyter puts the base URL before them."""
        self.handlers.extend(
            [
                ("workshop-monitor/stream", StreamHandler),
                ("workshop-monitor/snapshot", SnapshotHandler),
                ("workshop-monitor/history", HistoryHandler),
            ]
        )

    async def stop_extension(self) -> None:
        """End sampling. Waiting requests are let go first: they hold a thread that the wait may need."""
        sampler = self.settings[SETTING].sampler
        sampler.stop(wait_seconds=0)
        await asyncio.to_thread(sampler.stop)


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    return [{"module": "workshop_monitor", "app": WorkshopMonitor}]
