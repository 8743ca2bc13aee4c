"""The stages of `tvmtune bisect`."""
