"""The warning of the plugin."""

from __future__ import annotations

import pytest


class TvmTuneWarning(pytest.PytestWarning):
    """Something is unknown or incomplete. With --tvm-strict, the warning fails the test."""
