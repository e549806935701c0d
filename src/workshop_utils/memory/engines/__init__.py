"""What an engine adds to weights and ideal cache: one file an engine, named like it.

Each has ``ATTENTION`` and ``CACHES`` (the choices it estimates, the default first), ``OPTIONS`` (what else of
a workload it heeds), and ``assess(architecture, workload, gpu) -> Assessment``.
"""
