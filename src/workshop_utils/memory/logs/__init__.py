"""Read my log: what vLLM's start-up or a CUDA out-of-memory message says, beside our prediction of it."""
