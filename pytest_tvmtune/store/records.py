"""Tuning records: one small line-oriented file a workload.

Line kinds (JSON, one a line): `workload` (once; its IR), `record` (a measured schedule in
MetaSchedule's own JSON), `served` (the ledger: requests completed for this workload, whatever
came of them). Files merge line by line. TVM never sees a line that was not parsed here.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from pytest_tvmtune.core.environment import minor
from pytest_tvmtune.core.errors import StoreError
from pytest_tvmtune.store.atomic import set_aside, write_text
from pytest_tvmtune.store.layout import Store, slug
from pytest_tvmtune.store.locks import folder_lock

KEPT_RECORDS = 8
# MetaSchedule stores a failed candidate with this run time.
_FAILED_S = 1e9


@dataclass(frozen=True, kw_only=True)
class Record:
    """One measured schedule. data: MetaSchedule's [trace, run_secs, target, args_info]."""

    data: list[Any]
    cpu: str
    cores: int
    num_threads: int

    @property
    def mean_s(self) -> float:
        """Mean measured seconds of one call, as MetaSchedule ranks records."""
        return fmean(self.data[1])

    @property
    def digest(self) -> str:
        """What identifies the schedule, whatever it measured."""
        return hashlib.sha256(json.dumps(self.data[0]).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Served:
    """A completed request: trials and cap asked for the model, trials spent on this workload."""

    trials: int
    max_trials_per_task: int | None
    spent: int
    valid: int
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """All that is known of one workload on one target.

    ir: MetaSchedule's own serialisation. records: valid ones, best first.
    """

    shash: str
    name: str
    ir: str
    records: tuple[Record, ...] = ()
    served: tuple[Served, ...] = ()

    def is_enough(self, trials: int, max_trials_per_task: int | None) -> bool:
        """Whether a request at least as large was completed, whatever came of it."""
        return any(
            done.trials >= trials
            and (
                done.max_trials_per_task is None
                or (
                    max_trials_per_task is not None
                    and done.max_trials_per_task >= max_trials_per_task
                )
            )
            for done in self.served
        )

    def best(self, cpu: str) -> Record | None:
        """Return the best record measured on this CPU model, else the best of any."""
        own = [record for record in self.records if record.cpu == cpu]
        return min(own or self.records, key=lambda record: record.mean_s, default=None)


def target_key(target_json: str, tvm_version: str) -> str:
    """Return the folder name of a canonical target: without num-cores, with TVM's minor."""
    config = {key: value for key, value in json.loads(target_json).items() if key != "num-cores"}
    text = json.dumps(config, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{slug(str(config.get('kind', 'target')))}-tvm{minor(tvm_version)}-{digest}"


def read_workload(store: Store, key: str, shash: str) -> Workload | None:
    """Return what is known of a workload, or None.

    A damaged file is set aside, its valid lines kept, with one warning that names it.
    """
    path = _path(store, key, shash)
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    workload, problem = _parse(shash, text)
    if problem:
        with folder_lock(store.tuning / key):
            if path.exists():
                warnings.warn(f"tuning store: {set_aside(path, problem)}", stacklevel=2)
            if workload is not None:
                _write(path, workload)
    return workload


def add_to_workload(
    store: Store,
    key: str,
    workload: Workload,
) -> Workload:
    """Merge `workload`'s records and ledger lines into the stored file; return the whole.

    Safe under concurrent processes.
    """
    with folder_lock(store.tuning / key):
        path = _path(store, key, workload.shash)
        stored = _parse(workload.shash, path.read_bytes())[0] if path.is_file() else None
        merged = workload if stored is None else merge(stored, workload)
        if merged != stored:
            _write(path, merged)
        return merged


def merge(one: Workload, other: Workload) -> Workload:
    """Return both files' knowledge: the best records of each CPU, every ledger line once."""
    best: dict[tuple[str, str], Record] = {}
    for record in (*one.records, *other.records):
        slot = (record.cpu, record.digest)
        if slot not in best or record.mean_s < best[slot].mean_s:
            best[slot] = record
    return Workload(
        shash=one.shash,
        name=one.name,
        ir=one.ir,
        records=_keep_best(best.values()),
        served=tuple(dict.fromkeys((*one.served, *other.served))),
    )


def write_work_dir(work_dir: Path, pairs: Sequence[tuple[Workload, Iterable[Record]]]) -> None:
    """Write a MetaSchedule work_dir with these workloads and records and nothing else."""
    workloads, records = [], []
    for index, (workload, chosen) in enumerate(pairs):
        workloads.append(json.dumps([str(int(workload.shash, 16)), workload.ir]))
        records += [json.dumps([index, record.data]) for record in chosen]
    # TVM crashes on a blank line, so an empty file must be empty.
    for name, lines in (("workload", workloads), ("tuning_record", records)):
        path = work_dir / f"database_{name}.json"
        write_text(path, "".join(f"{line}\n" for line in lines))


def append_to_work_dir(work_dir: Path, workloads: Sequence[Workload]) -> None:
    """Add these workloads' records to a stock work_dir; what stands there already stays.

    Raises StoreError, with nothing written, when a line that stands there is damaged.
    """
    stock, problems = _work_dir_rows(work_dir)
    if problems:
        raise StoreError(f"work_dir {work_dir} was not written to: {problems[0]}")
    index_of = {str(row[0]): index for index, row in enumerate(stock["workload"])}
    present = {json.dumps(row) for row in stock["tuning_record"]}
    for workload in workloads:
        stock_hash = str(int(workload.shash, 16))
        if stock_hash not in index_of:
            index_of[stock_hash] = len(stock["workload"])
            stock["workload"].append([stock_hash, workload.ir])
        rows = [[index_of[stock_hash], record.data] for record in workload.records]
        stock["tuning_record"] += [row for row in rows if json.dumps(row) not in present]
    for name, rows in stock.items():
        text = "".join(f"{json.dumps(row)}\n" for row in rows)
        write_text(work_dir / f"database_{name}.json", text)


def read_work_dir(work_dir: Path) -> tuple[list[Workload], list[str]]:
    """Return the workloads with valid records of a stock work_dir, and what was left out.

    Every line is parsed here; the records carry no machine ("unknown" CPU), since stock files
    don't tell.
    """
    rows, problems = _work_dir_rows(work_dir)
    found: dict[int, list[Record]] = {}
    for row in rows["tuning_record"]:
        if row is not None and isinstance(row[0], int) and is_valid_record(row[1]):
            found.setdefault(row[0], []).append(
                Record(data=row[1], cpu="unknown", cores=0, num_threads=0)
            )
    workloads = [
        Workload(shash=f"{int(row[0]):016x}", name="", ir=row[1], records=_keep_best(found[index]))
        for index, row in enumerate(rows["workload"])
        if row is not None and index in found and str(row[0]).isdigit() and isinstance(row[1], str)
    ]
    return workloads, problems


def _work_dir_rows(work_dir: Path) -> tuple[dict[str, list[Any]], list[str]]:
    problems: list[str] = []
    rows: dict[str, list[Any]] = {}
    for name in ("workload", "tuning_record"):
        path = work_dir / f"database_{name}.json"
        rows[name] = []
        lines = path.read_bytes().splitlines() if path.is_file() else []
        for number, line in enumerate(lines, start=1):
            row = _load(line)
            if isinstance(row, list) and len(row) == 2:
                rows[name].append(row)
            else:
                problems.append(f"{path.name} line {number} is damaged")
                # Later lines refer to workloads by their position.
                rows[name].append(None)
    return rows, problems


def _keep_best(records: Iterable[Record]) -> tuple[Record, ...]:
    kept: list[Record] = []
    per_cpu: dict[str, int] = {}
    for record in sorted(records, key=lambda record: (record.mean_s, record.digest)):
        per_cpu[record.cpu] = per_cpu.get(record.cpu, 0) + 1
        if per_cpu[record.cpu] <= KEPT_RECORDS:
            kept.append(record)
    return tuple(kept)


def _path(store: Store, key: str, shash: str) -> Path:
    return store.tuning / key / f"{shash}.jsonl"


def _write(path: Path, workload: Workload) -> None:
    lines = [{"kind": "workload", "name": workload.name, "ir": workload.ir}]
    lines += [{"kind": "record", **asdict(record)} for record in workload.records]
    lines += [{"kind": "served", **asdict(served)} for served in workload.served]
    write_text(path, "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines))


def _parse(shash: str, content: bytes) -> tuple[Workload | None, str]:
    """Return the workload in a file, and what is wrong with the file ("" when nothing is)."""
    name = ir = ""
    records: list[Record] = []
    served: list[Served] = []
    problem = ""
    for number, line in enumerate(content.splitlines(), start=1):
        row = _load(line)
        try:
            kind = row.pop("kind")
            if kind == "workload":
                name, ir = row["name"], row["ir"]
            elif kind == "record" and is_valid_record(row["data"]):
                records.append(Record(**row))
            elif kind == "served":
                served.append(Served(**row))
            else:
                problem = problem or f"line {number}"
        except (AttributeError, KeyError, TypeError):
            problem = problem or f"line {number}"
    if content and not content.endswith(b"\n"):
        problem = problem or "truncated"
    if not ir:
        return None, problem or "no workload line"
    workload = Workload(
        shash=shash, name=name, ir=ir, records=_keep_best(records), served=tuple(served)
    )
    return workload, problem


def _load(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def is_valid_record(data: Any) -> bool:
    """Tell whether this is a candidate that ran: [trace, run_secs, target, args_info]."""
    return (
        isinstance(data, list)
        and len(data) == 4
        and isinstance(data[0], list)
        and isinstance(data[1], list)
        and bool(data[1])
        and all(isinstance(s, (int, float)) and 0 <= s < _FAILED_S for s in data[1])
        and isinstance(data[2], dict)
        and isinstance(data[3], list)
    )
