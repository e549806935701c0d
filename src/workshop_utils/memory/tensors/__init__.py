"""Which tensors ``generate()`` of transformers 5.17 makes and frees, in its order: one file a building block."""
