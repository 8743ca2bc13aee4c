"""The site: it is built without a warning, all pages are in it, and links lead somewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("**/*.md"))
ZENSICAL = Path(sys.executable).with_name("zensical")


def build(folder: Path) -> tuple[int, str]:
    """Build the site that stands in a folder; return exit code and output."""
    done = subprocess.run(
        [ZENSICAL, "build", "--strict", "--clean"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def test_it_is_built_and_a_link_to_nowhere_is_an_error(tmp_path: Path) -> None:
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    shutil.copytree(DOCS, tmp_path / "docs")
    code, printed = build(tmp_path)
    assert (code, "No issues found" in printed) == (0, True), printed
    for page in PAGES:
        place = page.relative_to(DOCS).with_suffix("")
        html = (tmp_path / "site" / str(place).removesuffix("index") / "index.html").read_text()
        # Whoever reads it loads nothing from elsewhere.
        assert re.findall(r'<(?:script|img)[^>]+src="https?:|<link[^>]+href="https?:', html) == []
    with (tmp_path / "docs/index.md").open("a") as index:
        index.write("\n[a page](no-such.md), [an anchor](glossary.md#no-such)\n")
    code, printed = build(tmp_path)
    assert code != 0
    assert "page does not exist" in printed
    assert "anchor does not exist" in printed


def test_every_page_is_in_the_navigation_once() -> None:
    def pages(entry: Any) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        values = entry.values() if isinstance(entry, dict) else entry
        return [page for value in values for page in pages(value)]

    listed = pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in PAGES)


def anchors(path: Path) -> set[str]:
    """Return what GitHub makes of a document's headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", [*ROOT.glob("*.md"), *PAGES], ids=lambda path: path.stem)
def test_links_to_files_and_headings_as_github_has_them(path: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        file = path.parent / name if name else path
        assert file.exists(), link
        assert not anchor or anchor in anchors(file), link


def test_pictures_load_nothing() -> None:
    pictures = [*(DOCS / "pictures").glob("*.svg")]
    assert pictures
    for picture in pictures:
        text = picture.read_text()
        assert text.startswith("<svg")
        assert not re.search(r"url\((?!#)|<image|<script|@import", text)
        # Nobody wants to know where it was made.
        assert not re.search(r"[ >]/\w+/", text)
