"""Triton kernels of a decode step, each limited by memory bandwidth, and the few that a prefill needs."""
