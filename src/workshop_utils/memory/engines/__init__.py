"""What an engine adds to weights and ideal cache: one file an engine, named like it.

Each has ``ATTENTION``, ``TENSOR_PARALLEL`` and ``PIPELINE_PARALLEL`` (the choices it estimates),
``not_counted(architecture)`` (what is missing from its figures), and ``gpu_terms(architecture, workload,
gpu)``, which returns the terms of each GPU, one tuple a rank.
"""
