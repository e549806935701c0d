"""Which tensors ``generate()`` of transformers 5.17 makes and frees, in its order: one file a building block.

Its values are named tuples: they are keys of caches, thousands of times in a search for a plan.
"""
