"""Jupyter Server extension: the live GPU and CPU stream of ``workshop_utils.monitor``."""

from workshop_monitor.app import _jupyter_server_extension_points as _jupyter_server_extension_points
