"""The warning of this plugin."""

from __future__ import annotations

import pytest


class TvmTuneWarning(pytest.PytestWarning):
    """Something is unknown or incomplete; under --tvm-strict it fails the test."""
