"""Set-ups that take something away from the process: a home, space, rights."""

from __future__ import annotations

from pathlib import Path

from tests.setups.harness import Setup, Step
from tests.setups.suites import LAZY, ONE, TUNED

FILES = {"test_one.py": ONE}
TUNED_FILES = {"test_one.py": TUNED}


def in_namespace(commands: str) -> str:
    """Return a wrapper that runs shell commands in a mount namespace before the interpreter."""
    return f"unshare --map-root-user --mount sh -c '{commands} && exec \"$@\"' sh"


def _make_folders(folder: Path) -> None:
    (folder / "full").mkdir()
    (folder.parent / "store").mkdir(exist_ok=True)


MACHINES = [
    # The user has no entry that says where its home is, and TVM asks for it.
    Setup(
        name="no home directory",
        files=LAZY,
        steps=(
            Step(
                wrapper="unshare --user --map-user=12345 env -u HOME",
                exit_codes=(4,),
                says=("home",),
            ),
            Step(
                arguments="-n 2",
                wrapper="unshare --user --map-user=12345 env -u HOME",
                exit_codes=(4,),
                says=("home",),
            ),
        ),
    ),
    Setup(
        name="a home directory that can't be written",
        files=FILES,
        cold=True,
        steps=(Step(environment={"HOME": "/proc"}, says=("1 passed",), cases=1, failed=0),),
    ),
    Setup(
        name="a full TMPDIR while tuning, then room",
        files=TUNED_FILES,
        prepare=_make_folders,
        cold=True,
        steps=(
            Step(
                wrapper=in_namespace("mount -t tmpfs -o size=4k tmpfs full"),
                # pytest's own files are small; TVM's are not.
                environment={"TMPDIR": "{folder}/full"},
                arguments="-p no:tmpdir",
                # What jobs write is in their own folders, in the store.
                says=("1 passed",),
                silent=("none valid", "nothing valid"),
            ),
            Step(says=("1 passed", "tuned 0 cases"), silent=("none valid", "nothing valid")),
        ),
    ),
    Setup(
        name="TMPDIR doesn't exist",
        files=FILES,
        cold=True,
        steps=(
            Step(environment={"TMPDIR": "{folder}/gone"}, says=("1 passed",), cases=1, failed=0),
        ),
    ),
    Setup(
        name="a read-only rootdir, the store elsewhere",
        files=FILES,
        prepare=_make_folders,
        cold=True,
        steps=(
            Step(
                wrapper=in_namespace("mount --bind . . && mount -o remount,bind,ro . && cd $PWD"),
                arguments="--tvm-dir=../store --tvm-json=../store/seen.json -p no:cacheprovider",
                says=("1 passed",),
            ),
        ),
    ),
    Setup(
        name="a read-only rootdir",
        files=FILES,
        cold=True,
        steps=(
            Step(
                wrapper=in_namespace("mount --bind . . && mount -o remount,bind,ro . && cd $PWD"),
                arguments="--tvm-json=/dev/null -p no:cacheprovider",
                exit_codes=(4,),
                says=("tvm-dir|--tvm-json",),
            ),
        ),
    ),
    Setup(
        name="umask 077",
        files=FILES,
        cold=True,
        steps=(Step(wrapper="sh -c 'umask 077 && exec \"$@\"' sh", says=("1 passed",), cases=1),),
    ),
    Setup(
        name="64 open files at most",
        files=FILES,
        cold=True,
        steps=(
            Step(wrapper="sh -c 'ulimit -n 64 && exec \"$@\"' sh", says=("1 passed",), cases=1),
        ),
    ),
    Setup(
        name="one core",
        files=FILES,
        cold=True,
        steps=(Step(wrapper="taskset -c 0", says=("1 passed",), cases=1, failed=0),),
    ),
]
