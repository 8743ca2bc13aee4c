"""Outputs compared with what is expected, with golden ones, with test data."""
