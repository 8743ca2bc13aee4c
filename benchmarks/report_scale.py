"""How long reports of many cases take, and how large they become.

Usage: python benchmarks/report_scale.py [CASES] [EPOCHS]

The cases are those that the tests use (tests/support/sample_report.py): of nine kinds, with six
tasks, nine kernels where slower, and the samples of 24 epochs each. The limits are for 1,000 such
cases: 10 s for all formats together, and 20 MB for the largest file; beyond them the exit code
is 1. Written to a temporary folder, and flushed to disk. CPU seconds are printed beside: what a
machine without other load would take.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from pytest_tvmtune.core.settings.table import REPORTS
from pytest_tvmtune.report.json_report import make_report
from pytest_tvmtune.report.report_files import write_reports
from tests.support.sample_report import MACHINE, sample_report

MOST_S = 10.0
MOST_BYTES = 20_000_000


def main(cases: int, epochs: int) -> int:
    made = sample_report(cases, epochs=epochs)["cases"]
    print(f"{cases} cases of {epochs} epochs, load average {os.getloadavg()[0]:.2f}")
    started, cpu = time.perf_counter(), time.process_time()
    report = make_report(made, MACHINE)
    together_s = time.perf_counter() - started
    sizes = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in REPORTS:
            path = Path(folder) / f"report.{name}"
            started = time.perf_counter()
            assert write_reports(report, {name: path}) == []
            seconds = time.perf_counter() - started
            together_s += seconds
            sizes[name] = path.stat().st_size
            print(f"{name:11} {seconds:6.2f} s  {sizes[name] / 1e6:7.2f} MB")
    print(f"together    {together_s:6.2f} s, {time.process_time() - cpu:.2f} s of CPU")
    return int(together_s > MOST_S or max(sizes.values()) > MOST_BYTES)


if __name__ == "__main__":
    given = [int(one) for one in sys.argv[1:]]
    sys.exit(main(*(given + [1000, 24][len(given) :])))
