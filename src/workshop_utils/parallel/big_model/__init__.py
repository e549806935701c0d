"""Accelerate's big-model inference: where layers stand, what that costs, and how a model is loaded."""
