"""What reports hold is JSON in UTF-8."""

from __future__ import annotations

import json
import math

from pytest_tvmtune.core.plain import finite


def test_a_path_that_is_not_text_is_escaped() -> None:
    held = finite({"nodeid": "caf\udce9/test_a.py", "samples_s": (1.0, math.inf)})
    assert held == {"nodeid": r"caf\udce9/test_a.py", "samples_s": [1.0, None]}
    json.dumps(held, ensure_ascii=False).encode("utf-8")
