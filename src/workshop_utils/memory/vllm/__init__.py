"""vLLM's start-up: what it does with a GPU between the first allocation and the first request."""
