"""Signatures on what becomes native code."""
