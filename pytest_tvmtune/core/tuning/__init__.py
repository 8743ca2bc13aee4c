"""Tuning tasks: the distribution of trials, and their results."""
