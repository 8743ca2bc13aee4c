"""Makes stock MetaSchedule import its intrinsics fast, in its workers too; see tuning_quality.

Every process whose PYTHONPATH holds this folder gets frames without source context. The search,
its builder and its runner are untouched.
"""

import inspect
import sys


def _stack(context: int = 1) -> list[inspect.FrameInfo]:  # noqa: ARG001  inspect's signature
    return inspect.getouterframes(sys._getframe(1), 0)  # noqa: SLF001


inspect.stack = _stack
