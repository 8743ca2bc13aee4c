"""Outputs compared with expected outputs, golden outputs, and test data."""
