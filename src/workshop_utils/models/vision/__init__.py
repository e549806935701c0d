"""Image towers: each file counts the parameters of one, from its ``vision_config``."""
