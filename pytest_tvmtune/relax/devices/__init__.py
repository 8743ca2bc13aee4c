"""Targets and the devices that run them."""
