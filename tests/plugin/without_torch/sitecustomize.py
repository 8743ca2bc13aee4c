"""For the pytest processes that tests start: `import tvm` would import torch, 1.4 s each time."""

import sys

sys.modules["torch"] = None  # type: ignore[assignment]
