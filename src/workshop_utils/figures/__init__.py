"""Plots: one function a figure, data in, matplotlib out."""
