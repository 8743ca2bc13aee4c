"""Signatures on files that become native code."""
