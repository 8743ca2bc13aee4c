"""Repeated calls in the background while a block runs."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def repeatedly(action: Callable[[], None], *, every_s: float, name: str) -> Iterator[None]:
    """Call `action` from a thread, every so many seconds, until the block ends.

    Args:
        action: What is done; the block ends when a call under way has.
        every_s: Seconds between two calls, and before the first.
        name: The thread's.
    """
    over = threading.Event()

    def call() -> None:
        while not over.wait(every_s):
            action()

    thread = threading.Thread(target=call, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
