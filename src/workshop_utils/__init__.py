"""Predict, measure and explain multi-GPU LLM inference."""

__version__ = "0.1.0"
