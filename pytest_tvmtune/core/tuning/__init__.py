"""Tuning tasks: how trials are shared out, and what they brought."""
