"""Comparisons with variants: known differences, a runtime's own timing, and a table of models.

Usage: python benchmarks/variants.py power [A/A [+5]]      chains of equal kernels, 100 against 105
       python benchmarks/variants.py turns [A/A [+5]]      the same, with a process each
       python benchmarks/variants.py runtimes [ROUNDS]     onnxruntime's times, here and alone
       python benchmarks/variants.py table [PYTEST ARGS]   the example suite, with all its variants

`power` and `turns` decide A/A (default 200) and +5 % (60) at a threshold of 3 %. `runtimes` times
models in onnxruntime twice: as the other side of `compare_latency`, and in a program that does
nothing else, in turn.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "example_suite")]

import numpy as np  # noqa: E402

if TYPE_CHECKING:
    from pytest_tvmtune.core.results.latency_comparison import LatencyComparison
    from pytest_tvmtune.stages.case import Case
    from pytest_tvmtune.stages.compiling import BuiltModel

MODEL = "compute 0.1 ms"
# Its own loop: what a user would write.
ALONE = """
import pickle, sys, time
import numpy as np, onnxruntime
path, threads = sys.argv[1:]
model, inputs = pickle.load(open(path, "rb"))
options = onnxruntime.SessionOptions()
options.intra_op_num_threads, options.inter_op_num_threads = int(threads), 1
options.log_severity_level = 4
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
binding = session.io_binding()
for one, array in zip(session.get_inputs(), inputs, strict=True):
    binding.bind_cpu_input(one.name, array)
for one in session.get_outputs():
    binding.bind_output(one.name, "cpu")
end, times = time.perf_counter() + 3, []
while time.perf_counter() < end:
    started = time.perf_counter()
    session.run_with_iobinding(binding)
    times.append(time.perf_counter() - started)
print(np.median(times[len(times) // 5:]))
"""


def main() -> None:
    command, *arguments = sys.argv[1:] or ["--help"]
    if command not in COMMANDS:
        sys.exit(__doc__)
    print(f"load average {os.getloadavg()[0]:.1f} at the start", flush=True)
    COMMANDS[command](arguments)


def power(arguments: Sequence[str]) -> None:
    """Print what comparisons of chains in one process decide, and how long they take."""
    _decide_chains(arguments, in_turns=False)


def turns(arguments: Sequence[str]) -> None:
    """Print the same for chains that have a process each."""
    _decide_chains(arguments, in_turns=True)


def _decide_chains(arguments: Sequence[str], *, in_turns: bool) -> None:
    counts = [int(argument) for argument in arguments]
    with tempfile.TemporaryDirectory() as folder:
        for percent, count in zip((0, 5), (*counts, *(200, 60)[len(counts) :]), strict=True):
            decide = _chain_comparison(Path(folder), percent, in_turns=in_turns)
            taken: list[tuple[LatencyComparison, float]] = []
            for _ in range(count):
                started_s = time.monotonic()
                taken.append((decide(), time.monotonic() - started_s))
            _print_decisions(f"{percent:+} %", taken)


def _chain_comparison(
    folder: Path, percent: int, *, in_turns: bool
) -> Callable[[], LatencyComparison]:
    """Return a comparison of a longer chain with a chain."""
    from gate_models import UNITS, open_chain

    from pytest_tvmtune.core.gating.confidence_sequence import item_alpha
    from pytest_tvmtune.stages.compiling import load
    from pytest_tvmtune.stages.latency.variant_comparison import compare_with_variant
    from pytest_tvmtune.stages.latency.variants import Variant, library_side

    short, short_built = built_case(folder, open_chain(MODEL, units=UNITS, naming="kernel"))
    long, long_built = built_case(
        folder, open_chain(MODEL, units=UNITS + percent, naming="renamed")
    )

    def in_its_process(files: Path) -> Any:
        return library_side(short, short_built.artifact, "short", files)

    variant = (
        Variant(name="short", process=in_its_process)
        if in_turns
        else Variant(name="short", library=short_built.artifact)
    )
    return partial(
        compare_with_variant,
        long,
        long_built,
        load(long, long_built),
        variant,
        alpha=item_alpha(1),
    )


def built_case(folder: Path, model: Any, num_threads: int = 1) -> tuple[Case, BuiltModel]:
    from pytest_tvmtune.core.settings.options import resolve_run
    from pytest_tvmtune.core.settings.target_spec import parse_target
    from pytest_tvmtune.stages.case import RunContext, open_case
    from pytest_tvmtune.stages.compiling import build_untuned
    from pytest_tvmtune.store.layout import open_store

    store = open_store(folder / "store")
    run = resolve_run({"trials": 0, "num_threads": num_threads}, store_dir=store.root)
    options = run.case_options({}, target=parse_target("llvm"), prepack=False)
    case = open_case(model, options, RunContext(store=store), name=model.name, nodeid=model.name)
    return case, build_untuned(case)


def _print_decisions(what: str, found: Sequence[tuple[LatencyComparison, float]]) -> None:
    verdicts = Counter(comparison.verdict for comparison, _ in found)
    ratios = [comparison.ratio for comparison, _ in found]
    low, middle, high = quantiles([spent_s for _, spent_s in found], n=4)
    print(
        f"{what:5} {dict(verdicts)}, ratio {median(ratios):.4f} ({min(ratios):.4f} to "
        f"{max(ratios):.4f}), {middle:.1f} s a decision (quartiles {low:.1f}, {high:.1f})",
        flush=True,
    )


def runtimes(arguments: Sequence[str]) -> None:
    """Print onnxruntime's time of a call as the other side of a comparison, and alone."""
    import pickle

    from pytest_tvmtune.core.gating.confidence_sequence import item_alpha
    from pytest_tvmtune.stages.compiling import load
    from pytest_tvmtune.stages.latency.variant_comparison import compare_with_variant
    from pytest_tvmtune.stages.latency.variants import variant_of

    rounds = int(arguments[0]) if arguments else 5
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        for threads in (1, 2):
            for name, model in onnx_models().items():
                case, built = built_case(Path(folder), model, threads)
                # It ends by time, not by a decision.
                case = replace(case, options=replace(case.options, max_time_s=3.0))
                file, saved = Path(folder, f"{name}.pickle"), Path(folder, f"{name}.onnx")
                model.references["onnxruntime"].save(saved)
                file.write_bytes(pickle.dumps((saved.read_bytes(), list(model.inputs))))
                loaded, variant = load(case, built), variant_of(case, built, "onnxruntime")
                times: dict[str, list[float]] = {"compared": [], "alone": []}
                for _ in range(rounds):
                    for way in rng.sample(list(times), 2):
                        if way == "alone":
                            times[way].append(_alone_s(file, threads))
                        else:
                            found = compare_with_variant(
                                case, built, loaded, variant, alpha=item_alpha(1)
                            )
                            times[way].append(found.other_median_s or 0.0)
                ratios = [a / b for a, b in zip(times["compared"], times["alone"], strict=True)]
                print(
                    f"{name:12} {threads} threads: compared {1e3 * median(times['compared']):.4f} "
                    f"ms, alone {1e3 * median(times['alone']):.4f} ms, ratio {median(ratios):.3f} "
                    f"({min(ratios):.3f} to {max(ratios):.3f}), {rounds} rounds",
                    flush=True,
                )


def onnx_models() -> dict[str, Any]:
    from onnx_models import model_file

    from pytest_tvmtune.relax.importing import open_model

    rng = np.random.default_rng(0)
    sound = {
        "input": (rng.standard_normal((1, 576)) * 0.1).astype("float32"),
        "state": (rng.standard_normal((2, 1, 128)) * 0.5).astype("float32"),
        "sr": np.array(16000, "int64"),
    }
    return {
        "magika": open_model(
            model_file("magika", "model.onnx"), name="magika", shapes={"bytes": (1, 2048)}
        ),
        "ppocr_cls": open_model(
            model_file("rapidocr-onnxruntime", "ch_ppocr_mobile_v2.0_cls_infer.onnx"),
            name="ppocr_cls",
            shapes={"x": (1, 3, 48, 192)},
        ),
        "silero_vad": open_model(
            model_file("silero-vad", "silero_vad_op18_ifless.onnx"),
            name="silero_vad",
            shapes={"input": (1, 576), "state": (2, 1, 128)},
            inputs=sound,
        ),
    }


def _alone_s(file: Path, threads: int) -> float:
    command = [sys.executable, "-c", ALONE, str(file), str(threads)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def table(arguments: Sequence[str]) -> None:
    """Print the example suite's ratios: prepacked to plain, and TVM to the model's runtime."""
    chosen = list(arguments) or ["example_suite", "-m", "not slow"]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p",
            "compare_references", "-W", "default", f"--tvm-dir={folder}/store",
            f"--tvm-json={report}", *chosen,
        ]  # fmt: skip
        path = os.pathsep.join(filter(None, [str(ROOT / "benchmarks"), os.getenv("PYTHONPATH")]))
        subprocess.run(command, cwd=ROOT, check=False, env={**os.environ, "PYTHONPATH": path})
        cases = json.loads(report.read_text())["cases"]
    print("| Model | Prepack | Next to | Ratio | Interval | Verdict |")
    print("|---|---|---|---|---|---|")
    for case in cases:
        for one in case["latency_comparisons"]:
            latency = one["latency"]
            interval = latency["interval"]
            ends = "-" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
            ratio = latency["slowdown_ratio"]
            print(
                f"| {case['name']} | {'yes' if case['prepack'] else 'no'} | {one['compared_with']} "
                f"| {'same code' if ratio is None else f'{ratio:.3f}'} | {ends} "
                f"| {latency['verdict']} |"
            )


COMMANDS = {"power": power, "turns": turns, "runtimes": runtimes, "table": table}

if __name__ == "__main__":
    main()
