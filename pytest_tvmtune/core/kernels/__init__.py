"""Kernels: the pairs of corresponding kernels of two modules, and the time of each kernel."""
