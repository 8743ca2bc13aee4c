"""TVMScript parsed without a look at the source of the frames around it.

Its decorators call `inspect.stack()`, which searches the loaded modules for each frame's source:
that is most of the 14 to 31 s that importing TVM's tensor intrinsics takes.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def frames_without_source() -> Iterator[None]:
    """Have `inspect.stack()` return frames without their source."""
    original = inspect.stack

    def stack(context: int = 1) -> list[inspect.FrameInfo]:  # noqa: ARG001  inspect's signature
        return list(_outer_frames(sys._getframe(1)))  # noqa: SLF001

    inspect.stack = stack
    try:
        yield
    finally:
        inspect.stack = original


def _outer_frames(frame: FrameType | None) -> Iterator[inspect.FrameInfo]:
    while frame is not None:
        code = frame.f_code
        yield inspect.FrameInfo(frame, code.co_filename, frame.f_lineno, code.co_name, None, None)
        frame = frame.f_back
