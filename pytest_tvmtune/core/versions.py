"""Versions of packages, as text."""


def minor(version: str) -> str:
    """Return "0.27" for "0.27.0.post1"."""
    return ".".join(version.split(".")[:2])
