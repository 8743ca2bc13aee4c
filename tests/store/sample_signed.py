"""The kinds of files that are signed: how each is written and read, and whether it is refused."""

from __future__ import annotations

import gzip
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pytest_tvmtune.core.errors import BaselineError, StoreError
from pytest_tvmtune.store.accepted.baseline_files import read_baseline, read_records, records_path
from pytest_tvmtune.store.artifacts import find
from pytest_tvmtune.store.builds import Build, read_build, write_build
from pytest_tvmtune.store.layout import Store
from pytest_tvmtune.store.signing.signatures import KEY_VARIABLE
from pytest_tvmtune.store.tuning.cached_outcome import (
    CachedOutcome,
    read_cached_outcome,
    write_cached_outcome,
)
from pytest_tvmtune.store.tuning.workload_files import add_to_workload, read_workload
from tests.support.sample_records import KEY, SHASH, path_of, record, served, workload
from tests.support.sample_store import (
    IDENTITY,
    MANIFEST,
    RECORDS,
    baseline,
    contents,
    put_artifact,
    put_baseline,
)

UseKey = Callable[[str], None]
OTHER = "ff" * 8
UNSIGNED = f"not signed, although {KEY_VARIABLE} is set"
OTHERS = f"signed with another key than {KEY_VARIABLE}, or changed after it was signed"
BUILD = Build(library="ab" * 32, applied=(SHASH,), compile_s=1.5, ran_with=("a",))
WARM = CachedOutcome(build="ab" * 32, tasks=(), left_out=("softmax",))
KNOWN = workload(record(1e-3), served=(served(64),))
# The SHA-256 of b"code", which the artifact is.
DIGEST = "5694d08a2e53ffcae0c3103e5ad6f6076abd960eb1f8a56577040bc1028f702b"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of file that is signed: how it is written and read, and what it then is.

    elsewhere: reads the one of another name, key or hash, which `copy` says the path of.
    """

    put: Callable[[Store], Any]
    path: Callable[[Store], Path]
    read: Callable[[Store], Any]
    written: Any
    copy: Callable[[Store], Path]
    elsewhere: Callable[[Store], Any]
    # Whether reading it sets aside what it refuses, and warns.
    set_aside: bool = False


OTHER_CASE = replace(IDENTITY, function="test_other")
KINDS = {
    "manifest": Kind(
        put=lambda store: put_artifact(store, b"code"),
        path=lambda store: store.artifacts / DIGEST / "manifest.json",
        read=lambda store: find(store, DIGEST).manifest,
        written=MANIFEST,
        copy=lambda store: put_artifact(store, b"other code") / "manifest.json",
        elsewhere=lambda store: find(store, put_artifact_name(store)),
    ),
    "build": Kind(
        put=lambda store: write_build(store, "key", BUILD),
        path=lambda store: store.builds / "key.json",
        read=lambda store: read_build(store, "key"),
        written=BUILD,
        copy=lambda store: store.builds / "other.json",
        elsewhere=lambda store: read_build(store, "other"),
        set_aside=True,
    ),
    "tuning file": Kind(
        put=lambda store: add_to_workload(store, KEY, KNOWN),
        path=path_of,
        read=lambda store: read_workload(store, KEY, SHASH),
        written=KNOWN,
        copy=lambda store: path_of(store, OTHER),
        elsewhere=lambda store: read_workload(store, KEY, OTHER),
        set_aside=True,
    ),
    "baseline": Kind(
        put=lambda store: put_baseline(store, "ab" * 32),
        path=lambda store: store.baselines / IDENTITY.file_name,
        read=lambda store: read_baseline(store, IDENTITY),
        written=baseline("ab" * 32),
        copy=lambda store: store.baselines / OTHER_CASE.file_name,
        elsewhere=lambda store: read_baseline(store, OTHER_CASE),
    ),
    "records": Kind(
        put=lambda store: put_baseline(store, "ab" * 32),
        path=lambda store: records_path(store, IDENTITY.file_name),
        read=lambda store: read_records(store, IDENTITY),
        written=[(KEY, RECORDS)],
        copy=lambda store: records_path(store, OTHER_CASE.file_name),
        elsewhere=lambda store: read_records(store, OTHER_CASE),
    ),
    "warm": Kind(
        put=lambda store: write_cached_outcome(store, "key", [[[1, 2, 3]]], WARM),
        path=lambda store: store.cached_outcomes / "key.json",
        read=lambda store: read_cached_outcome(store, "key", [[[1, 2, 3]]]),
        written=WARM,
        copy=lambda store: store.cached_outcomes / "other.json",
        elsewhere=lambda store: read_cached_outcome(store, "other", [[[1, 2, 3]]]),
    ),
}
# One JSON object each, whose signature stands among its values.
JSON_KINDS = ["manifest", "build", "baseline", "warm"]
SIGNED = ["manifest", "build", "tuning file", "baseline", "records"]


def put_artifact_name(store: Store) -> str:
    """Return the hash of the one artifact that isn't `DIGEST`."""
    (name,) = (path.name for path in store.artifacts.iterdir() if path.name != DIGEST)
    return name


def refusal_of(read: Callable[[Store], Any], store: Store, written: Any) -> str:
    """Return why reading gives nothing, "" when it gives what was written; never anything else."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = read(store)
        except (StoreError, BaselineError) as error:
            return str(error)
    if found is None:
        return "; ".join(str(one.message) for one in caught) or "nothing is known"
    assert found == written
    return ""


def text_of(path: Path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


def write_text_of(path: Path, text: bytes) -> None:
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)


def assert_refused(kind: Kind, store: Store, why: str) -> None:
    """Assert that reading gives nothing and says why, and that no byte of it is lost."""
    before = contents(store.root)
    said = refusal_of(kind.read, store, kind.written)
    # A warm note is made anew: nobody needs to hear of it.
    assert (
        said == "nothing is known"
        if kind.path(store).parent == store.cached_outcomes
        else why in said
    )
    after = contents(store.root)
    assert sorted(after.values()) == sorted(before.values())
    assert (after == before) == (not kind.set_aside)
    assert kind.path(store).exists() == (not kind.set_aside)


def last_line(text: bytes) -> Any:
    return json.loads(text.splitlines()[-1])
