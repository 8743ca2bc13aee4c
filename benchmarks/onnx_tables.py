"""What `onnx_conformance.py` prints: counts and reasons, in Markdown."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

PASSED, CRASHED = "passed", "pytest crashed"
# Of a task: nothing is left to be tuned.
SETTLED = ("tuned", "untuned is faster")
# In this order, with what stands at the head of a column.
_COLUMNS = {
    PASSED: "Passed",
    "unsupported operator": "No converter",
    "unsupported type": "No tensors of numbers",
    "import": "Importer fails",
    "model": "Model refused",
    "given": "Data doesn't fit",
    "compile": "Compiling fails",
    "crash": "Child crashed",
    "time-out": "Time-out",
    "wrong numbers": "Wrong numbers",
    "other": "Other",
    CRASHED: "pytest crashed",
}


def tables(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Return the lines of all tables.

    rows: of each model and number of trials: model, trials, crash, and its two cases.
    """
    yield from _counts(rows)
    yield ""
    yield from _operators(rows)
    yield ""
    yield from _failures(rows)


def kind_of(case: dict[str, Any]) -> str:
    """Return which column a case is counted in."""
    if case["outcome"] == "passed":
        return PASSED
    kind = case["failure"]["kind"] if case["failure"] else "other"
    return kind if kind in _COLUMNS else "other"


def _counts(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    counts: dict[tuple[str, int, bool], Counter[str]] = defaultdict(Counter)
    tasks: dict[tuple[str, int, bool], list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        suite = row["model"].partition("/")[0]
        if row["crash"]:
            counts[suite, row["trials"], False][CRASHED] += 1
        for case in row["cases"]:
            key = suite, row["trials"], case["prepack"]
            counts[key][kind_of(case)] += 1
            tasks[key][0] += sum(task["state"] in SETTLED for task in case["tasks"])
            tasks[key][1] += len(case["tasks"])
    columns = [kind for kind in _COLUMNS if any(count[kind] for count in counts.values())]
    columns = list(dict.fromkeys([*columns, "wrong numbers", CRASHED]))
    heads = [_COLUMNS[kind] for kind in columns]
    yield f"| Suite | Trials | Prepack | Models | {' | '.join(heads)} | Tasks tuned |"
    yield "|---" * (len(columns) + 5) + "|"
    total: Counter[str] = Counter()
    for (suite, trials, prepack), count in sorted(counts.items()):
        cells = [str(count[kind]) for kind in columns]
        tuned, all_ = tasks[suite, trials, prepack]
        yield (
            f"| {suite} | {trials} | {'yes' if prepack else 'no'} | {count.total()} | "
            f"{' | '.join(cells)} | {tuned} of {all_} |"
        )
        total += count
    cells = [str(total[kind]) for kind in columns]
    yield f"| all | | | {total.total()} | {' | '.join(cells)} | |"


def _operators(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    models: dict[str, set[str]] = defaultdict(set)
    nodes: dict[tuple[str, str], int] = {}
    for row in rows:
        for case in row["cases"]:
            for name, count in (case["failure"] or {}).get("operators", {}).items():
                models[name].add(row["model"])
                nodes[name, row["model"]] = count
    yield "| Operator without a converter | Models | Nodes |"
    yield "|---|---|---|"
    for name, found in sorted(models.items(), key=lambda one: (-len(one[1]), one[0])):
        yield f"| {name} | {len(found)} | {sum(nodes[name, model] for model in found)} |"


def _failures(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Return one line for each model and reason, with the builds that it holds for."""
    reasons: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    all_builds: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row["crash"]:
            all_builds[row["model"]].append(build := f"{row['trials']} trials")
            reasons[row["model"], CRASHED, row["crash"]].append(build)
        for case in row["cases"]:
            build = f"{row['trials']} trials{', prepacked' if case['prepack'] else ''}"
            all_builds[row["model"]].append(build)
            if (kind := kind_of(case)) != PASSED:
                reasons[row["model"], kind, _reason(case, kind)].append(build)
    yield "| Model | Kind | Builds | Message |"
    yield "|---|---|---|---|"
    for (model, kind, reason), builds in sorted(reasons.items()):
        which = "all" if sorted(builds) == sorted(all_builds[model]) else "; ".join(sorted(builds))
        shown = reason.replace("|", "/").replace("`", "'")
        yield f"| {model} | {kind} | {which} | `{shown}` |"


def _reason(case: dict[str, Any], kind: str) -> str:
    """Return why, in a line: of wrong numbers how wrong, and where they begin."""
    lines = (case["findings"] or ["no finding"])[0].splitlines()
    # What follows the case's name, and that of the model's file.
    first = (lines[0].partition("]: ")[2] or lines[0]).rpartition("model.onnx: ")[2]
    if kind != "wrong numbers":
        return first
    (*_, where) = (line.strip() for line in lines if "reproducer" not in line)
    return f"{first}; {where}"
