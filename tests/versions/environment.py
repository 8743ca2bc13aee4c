"""Makes an environment of another TVM: that TVM alone, and all else from this environment.

Usage: python tests/versions/environment.py FOLDER VERSION

It's a virtual environment with apache-tvm VERSION and the apache-tvm-ffi that works best with it.
Behind them on its path are this environment's packages and this checkout.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from pytest_tvmtune.core.versions import minor
from pytest_tvmtune.relax.compat import TESTED

CHECKOUT = Path(__file__).resolve().parents[2]


def make(folder: Path, version: str) -> None:
    ffi = TESTED[minor(version)].ffi_versions[0]
    venv.create(folder, with_pip=False, clear=True)
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / python / "site-packages"
    subprocess.run(
        [
            sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
            "--no-deps", "--no-compile", "--target", str(packages),
            f"apache-tvm=={version}", f"apache-tvm-ffi=={ffi}",
        ],
        check=True,
    )  # fmt: skip
    behind = [sysconfig.get_path("purelib"), str(CHECKOUT)]
    (packages / "behind.pth").write_text("".join(f"{one}\n" for one in behind))


if __name__ == "__main__":
    make(Path(sys.argv[1]), sys.argv[2])
