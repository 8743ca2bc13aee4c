"""Whether accumulated rounding can explain wrong numbers."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pytest_tvmtune.core.comparing.output_error import OutputError
from pytest_tvmtune.core.tensors.dtypes import FLOATS

# Of the last places of the values that were computed with. A sum of n terms is off by about
# sqrt(n)/2 of them, at worst by n/2: Higham, Accuracy and Stability of Numerical Algorithms, ch. 4.
_MOST_PLACES = 64
# A narrow type excuses no more than this part of an output.
_MOST_SHARE = 0.1


def rounding_share(outputs: Sequence[OutputError], dtypes: Collection[str]) -> tuple[float, str]:
    """Return the largest error as a share of its output's size, and the type whose rounding it is.

    outputs: of a comparison; the size is the root mean square of the expected values. dtypes: of
    the model's inputs and parameters. Together with the dtypes of the outputs, these are the types
    that the model computes in; the narrowest type counts. Returns 0.0 and "" if rounding can't be
    the cause: no value was compared, NaN or Inf is on only one side, the wrong outputs aren't
    floats, or the errors are too large.
    """
    floats = [dtype for dtype in dtypes if dtype in FLOATS]
    largest, of_type = 0.0, ""
    for one in outputs:
        if one.passed:
            continue
        is_finite = not one.problem and not one.not_finite
        if not is_finite or one.dtype not in FLOATS or not one.expected_rms or not one.worst_abs:
            return 0.0, ""
        narrowest = min([*floats, one.dtype], key=lambda dtype: FLOATS[dtype][0])
        share = one.worst_abs.error / one.expected_rms
        if share > min(_MOST_SHARE, _MOST_PLACES * 2.0 ** -FLOATS[narrowest][0]):
            return 0.0, ""
        if share > largest:
            largest, of_type = share, narrowest
    return largest, of_type
