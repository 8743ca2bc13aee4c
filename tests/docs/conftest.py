"""Documents are read with an interpreter that starts in milliseconds."""

from tests.support.preloaded_python import preloaded_python  # noqa: F401
from tests.support.unmeasured import unmeasured_jobs  # noqa: F401
