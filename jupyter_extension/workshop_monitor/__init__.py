"""Jupyter Server extension: the live GPU and CPU stream of ``workshop_utils.monitor``."""
