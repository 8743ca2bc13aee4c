"""Kernels: which of two modules belong together, and what each costs."""
