"""Comparing a model of two environments: what each compiled, and both sides' processes."""
