"""Stages: what a call takes, next to the baseline, the untuned build, and other variants."""
