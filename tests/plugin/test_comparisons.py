"""`run.assert_not_slower_than` and `run.compare_latency`: against each kind of variant."""

from __future__ import annotations

import json

import pytest

from tests.plugin.onnx_files import write_chain
