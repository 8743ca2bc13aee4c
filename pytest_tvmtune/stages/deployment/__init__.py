"""Exported folders, and the pipeline that tunes in a deployment script."""
