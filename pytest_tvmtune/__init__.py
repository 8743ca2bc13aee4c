"""Performance-regression testing of models compiled by Apache TVM, as a pytest plugin."""

from pytest_tvmtune.core.comparing.tolerances import Tolerance

__all__ = ["Tolerance"]
