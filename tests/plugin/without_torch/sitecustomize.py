"""For the pytest processes that tests start, and for their children.

`import tvm` would import torch, 1.4 s each time. Children are not measured by coverage: it makes a
compiler's imports half as slow again, and what they run has tests of its own.
"""

import sys

sys.modules["torch"] = None  # type: ignore[assignment]

_IS_CHILD = any("pytest_tvmtune.relax" in word for word in sys.orig_argv)
if _IS_CHILD and "coverage" in sys.modules:
    from coverage import Coverage

    if (measuring := Coverage.current()) is not None:
        measuring.stop()
