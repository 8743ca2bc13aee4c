"""What comparing a model's outputs came to: with what was expected, and with golden outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pytest_tvmtune.core.comparing.output_error import OutputError
from pytest_tvmtune.core.json_codec import NullableFloat

GoldenState = Literal["new", "matched", "differs", "unusable", "written"]


@dataclass(frozen=True, kw_only=True)
class ErrorResult:
    """One numeric comparison.

    Attributes:
        against: What the outputs are compared with: `expected`, `onnxruntime`, `torch`, `golden`,
            `test_data_set_0`, `the untuned, unpacked build`, `prepacked`, `not prepacked`.
        passed: Whether every output agrees within its tolerance.
        max_abs_error: The largest absolute error over all outputs.
        max_rel_error: The largest relative error over all outputs, where the expected value isn't
            0.
        message: How they differ, empty where they agree.
        outputs: Each output that was compared.
    """

    against: str
    passed: bool
    max_abs_error: NullableFloat
    max_rel_error: NullableFloat
    message: str = ""
    outputs: tuple[OutputError, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GoldenResult:
    """What became of a case's golden outputs.

    Attributes:
        path: Path of their file, from the rootdir.
        state: `new`: there are none. `unusable`: their file is damaged, or was made with other
            inputs. `written`: by this run.
    """

    path: str
    state: GoldenState
