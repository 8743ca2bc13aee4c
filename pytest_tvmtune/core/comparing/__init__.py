"""Comparisons of numbers: tolerances, arrays, outputs, kernels."""
