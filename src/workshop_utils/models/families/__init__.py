"""One file for each ``model_type`` of config.json, named exactly like it, with ``read(config)``."""
