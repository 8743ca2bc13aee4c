"""Make the pictures of the HTML report that the documentation shows.

Usage: python docs/pictures/make.py [REPORT.json]

Runs the suite next to this file twice, before and after its changes, which tunes a model, and
takes pictures of the second run's report in headless Chromium; with REPORT.json, of that report.
Needs chromium, chromedriver and selenium.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from pytest_tvmtune.report.html_report import html_report

HERE = Path(__file__).parent
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars",
)  # fmt: skip
# Width, height, colours.
PICTURES = {
    "report-light": (1280, 1300, "light"),
    "report-dark": (1280, 1300, "dark"),
    "report-narrow": (390, 1500, "light"),
}
# Of the cases, one that became slower stays open.
OPEN_ONE = """
const cases = [...document.querySelectorAll(".case")];
const one = cases.find(one => one.dataset.verdict === "REGRESSION") ?? cases[0];
for (const other of cases)
    if (other.classList.contains("open") !== (other === one)) other.querySelector(".fold").click();
"""


def run_suite(folder: Path) -> Path:
    """Run the suite before and after its changes; return the second run's JSON report."""
    shutil.copy(HERE / "test_models.py", folder)
    (folder / "pytest.ini").write_text("[pytest]\n")
    quiet = ["--tvm-step-summary=off", "--benchmark-disable"]
    command = [sys.executable, "-m", "pytest", "-q", *quiet]
    for after, options in (("0", ["--tvm-update-new"]), ("1", ["--tvm-json=report.json"])):
        # The second run has failing tests, as it should.
        environment = {**os.environ, "AFTER": after}
        subprocess.run(command + options, check=False, cwd=folder, env=environment)
    return folder / "report.json"


@contextmanager
def browser(folder: Path) -> Iterator[webdriver.Chrome]:
    """Start headless Chromium with a profile in a folder."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver") or "chromedriver"))
    try:
        yield driver
    finally:
        driver.quit()


def take_pictures(page: Path, folder: Path) -> None:
    """Write a PNG for each of PICTURES next to this file. folder: for the browser's profile."""
    with browser(folder) as driver:
        for name, (width, height, colours) in PICTURES.items():
            size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 700}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            media = {"features": [{"name": "prefers-color-scheme", "value": colours}]}
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
            driver.get(page.as_uri())
            driver.execute_script(OPEN_ONE)
            driver.save_screenshot(str(HERE / f"{name}.png"))


def main(report: Path | None) -> None:
    with tempfile.TemporaryDirectory(prefix="tvmtune-pictures-") as name:
        folder = Path(name)
        loaded = json.loads((report or run_suite(folder)).read_text())
        page = folder / "report.html"
        page.write_text(html_report(loaded), encoding="utf-8")
        take_pictures(page, folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
