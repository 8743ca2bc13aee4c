"""Make docs/pictures/comment.png and issue.png: what the recipes post for five runs.

Usage: python docs/pictures/posts.py

Runs the scripts of docs/recipes for GitHub with the real gh and jq against a local server, and
draws what they leave there in headless Chromium. The service's own page looks different; the texts,
and the events of the issue, are the recipes'. Needs chromium, chromedriver, selenium, gh, jq,
markdown-it-py, and pngquant.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path

from markdown_it import MarkdownIt
from selenium.webdriver import Chrome

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from make import browser  # noqa: E402

from tests.docs.recipe_jobs import written  # noqa: E402
from tests.docs.test_posting_recipes import PULL, SHA, comment_on_github, issues_on_github  # noqa: E402
from tests.support.fake_forge import Forge, served  # noqa: E402
from tests.support.sample_nights import RUNS, night  # noqa: E402

WIDTH = 880
STYLE = """
body { margin: 0; padding: 12px; width: 856px; background: #fff; color: #1f2328;
       font: 13px/1.4 "DejaVu Sans", sans-serif; }
section { border: 1px solid #d1d9e0; border-radius: 6px; margin-bottom: 10px; }
header { background: #f6f8fa; border-bottom: 1px solid #d1d9e0; padding: 4px 12px; }
article { padding: 2px 12px; }
h3 { margin: 6px 0; font-size: 15px; } p { margin: 6px 0; }
table { border-collapse: collapse; margin: 6px 0; }
th, td { border: 1px solid #d1d9e0; padding: 2px 8px; }
code, pre { font: 11px "DejaVu Sans Mono", monospace; background: #f3f4f6; }
pre { padding: 6px; margin: 6px 0; white-space: pre-wrap; }
"""
# On the page, a reader opens what is folded. Here, the first run shows it.
FOLDED, OPEN = "<details>", "<details open>"


def comments(folder: Path) -> str:
    """Return the comment after each run, as HTML."""
    panels = []
    with served(Forge()) as forge:
        forge.pulls = [{"number": PULL, "state": "open", "for": "fork:main", "head": {"sha": SHA}}]
        for name in RUNS:
            report = written(folder / "reports", night(name), markdown="r.md")["r.md"]
            ended = "success" if RUNS[name] == 1 else "failure"
            comment_on_github(folder / f"comment-{name}", forge, report, CONCLUSION=ended)
            (comment,) = forge.comments[PULL]
            panels.append(_panel(f"Run {len(panels) + 1}: {name}", _html(comment["body"], name)))
    return _page(panels)


def issues(folder: Path) -> str:
    """Return the issue after each night, as HTML."""
    panels = []
    with served(Forge()) as forge:
        for name in RUNS:
            before = len(forge.events.get(1, ()))
            issues_on_github(folder / f"issue-{name}", forge, name)
            (issue,) = forge.issues
            events = "".join(f"<p><i>{escape(one)}</i></p>" for one in forge.events[1][before:])
            texts = [issue["body"]] if name == "new" else []
            texts += [one["body"] for one in forge.comments.get(1, ())]
            state = f"{issue['state']} issue #{issue['number']}, {issue['title']}"
            shown = events + "".join(_html(text, name) for text in texts)
            panels.append(_panel(f"Night {len(panels) + 1}: {name} ({state})", shown))
    return _page(panels)


def _html(text: str, name: str) -> str:
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    first, *rest = RUNS
    assert first not in rest
    return html.replace(FOLDED, OPEN, 1) if name == first else html


def _panel(title: str, inside: str) -> str:
    return f"<section><header><b>{escape(title)}</b></header><article>{inside}</article></section>"


def _page(panels: list[str]) -> str:
    return f"<!DOCTYPE html><meta charset=utf-8><style>{STYLE}</style>{''.join(panels)}"


def draw(driver: Chrome, html: str, folder: Path, name: str) -> None:
    """Write a PNG of few colors, next to this file."""
    page = folder / f"{name}.html"
    page.write_text(html, encoding="utf-8")
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.set_window_size(WIDTH, 200)
    driver.get(page.as_uri())
    height = driver.execute_script("return document.documentElement.scrollHeight")
    size = {"width": WIDTH, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    whole = folder / f"{name}.png"
    driver.save_screenshot(str(whole))
    small = ["pngquant", "--force", "--output", HERE / f"{name}.png", "--nofs", "8", whole]
    subprocess.run(small, check=True)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="tvmtune-posts-") as name:
        folder = Path(name)
        pages = {"comment": comments(folder), "issue": issues(folder)}
        with browser(folder) as driver:
            for title, html in pages.items():
                draw(driver, html, folder, title)


if __name__ == "__main__":
    main()
