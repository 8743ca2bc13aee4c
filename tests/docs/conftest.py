"""Documents are read with an interpreter that starts in milliseconds."""

from tests.support.preloaded_python import preloaded_python  # noqa: F401
