"""Devices behind TVM's RPC: an emulated one, and tests that use it."""
