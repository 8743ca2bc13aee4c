"""Every code block of README and docs is run, or parsed, as its reader would."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.documents import Reader, check_output, parse, runnable
from tests.support import ROOT
from tests.support.preloaded_python import PreloadedPython

DOCS = ROOT / "docs"
# One reader goes through these in this order: each begins with what the ones before have left in
# the folder, so that a model is compiled once for all of them.
IN_TURN = [
    DOCS / "tutorial.md",
    DOCS / "how-to/gate-in-ci.md",
    DOCS / "how-to/share-records.md",
    DOCS / "how-to/share-a-store.md",
    DOCS / "how-to/vet-a-tvm-upgrade.md",
    DOCS / "explanation/prepack.md",
    DOCS / "how-to/look-back.md",
    DOCS / "how-to/report-results.md",
    DOCS / "how-to/devices.md",
    DOCS / "reference/fixtures.md",
    DOCS / "reference/models.md",
    DOCS / "reference/hooks.md",
    ROOT / "README.md",
]
# Read in a folder that is made for it: test_bisect_page.py.
ELSEWHERE = DOCS / "how-to/bisect-a-slowdown.md"
ALONE = sorted({*DOCS.glob("**/*.md")} - {*IN_TURN, ELSEWHERE})


def read_in_turn(reader: Reader, paths: list[Path]) -> None:
    for path in paths:
        reader.read(path)
        # The tutorial tunes; what it tuned has to do for the others.
        reader.environment["PYTEST_ADDOPTS"] = "--tvm-tuning=never"


def test_tutorial_and_readme(tmp_path: Path, preloaded_python: PreloadedPython) -> None:
    read_in_turn(
        Reader(folder=tmp_path, programs=preloaded_python.folder), [IN_TURN[0], IN_TURN[-1]]
    )


@pytest.mark.slow
def test_one_after_the_other(tmp_path: Path) -> None:
    read_in_turn(Reader(folder=tmp_path), IN_TURN)


@pytest.mark.slow
@pytest.mark.parametrize("path", ALONE, ids=lambda path: path.stem)
def test_by_itself(path: Path, tmp_path: Path) -> None:
    Reader(folder=tmp_path).read(path)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("```python\nassert 1 == 2\n```", "AssertionError"),
        ("```python\ndef (:\n```", "SyntaxError"),
        ("<!-- raises KeyError -->\n```python\n{}\n```", "raises nothing"),
        ("<!-- raises KeyError -->\n```python\n[][0]\n```", "raises IndexError"),
        ("```sh\npython benchmarks/startup.py --no-such\n```", "--no-such"),
        ('```python title="a.py"\nimport\n```', "SyntaxError"),
        ("```sh\nfalse\n```", "exits with 1"),
        ("<!-- exits with 2 -->\n```sh\ntrue\n```", "exits with 0"),
        ("```sh\npip install 'pytest-tvmtune[no-such]'\n```", "no-such"),
        ("```sh\nmake no-such\n```", "no-such"),
        ("<!-- needs a device -->\n```sh\npytest --tvm-rcp=there\n```", "--tvm-rcp"),
        ("<!-- needs a device -->\n```sh\nssh (there\n```", "bash"),
        ('```sh\necho one\n```\n```text title="output"\ntwo\n```', "not printed"),
        ("```toml\na = \n```", "TOMLDecodeError"),
        ("```ini\n[pytest]\ntvm_trials = many\n```", "tvm_trials"),
        ("```ini\n[pytest]\ntvm_trails = 3\n```", "KeyError"),
        ('```toml title="m.tvmtune.toml"\ntrails = 3\n```', "did you mean 'trials'"),
        ("```yaml\na: [\n```", "ParserError"),
        ("```json\n{\n```", "JSONDecodeError"),
        ("```perl\n1\n```", "perl"),
        ("```\nplain\n```", "no language"),
    ],
    ids=lambda value: value.split()[0].strip("`"),
)
def test_what_is_wrong_is_found(block: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(f"# Page\n\n{block}\n")
    with pytest.raises(AssertionError, match=r"page\.md") as raised:
        Reader(folder=tmp_path).read(path)
    assert said in str(raised.value)


def test_files_of_tests_that_nothing_ran_are_run(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text('```python title="test_it.py"\ndef test_it():\n    assert 1 == 2\n```\n')
    with pytest.raises(AssertionError, match="1 failed"):
        Reader(folder=tmp_path).read(path)
    path.write_text(path.read_text() + "<!-- exits with 1 -->\n\n```sh\npytest test_it.py\n```\n")
    Reader(folder=tmp_path).read(path)


def test_output_may_have_other_numbers_and_less_lines_than_shown() -> None:
    printed = "a\nmodel  now\nmlp    17.2 ms  PASS\nb\n"
    check_output("model now\nmlp 9.1 us PASS\n...\n", printed)
    with pytest.raises(AssertionError, match="not here"):
        check_output("mlp 9.1 us PASS\nmodel now\n", printed)


def test_commands_that_take_a_network_are_left_out() -> None:
    script = 'pip install \\\n  "pytest-tvmtune[tune,onnx]"\nmake test\ntvmtune --version  # it\n'
    assert runnable(script) == "tvmtune --version  # it"


def test_every_document_has_blocks_that_are_parsed() -> None:
    assert {path.name for path in IN_TURN if not list(parse(path).examples())} == set()
