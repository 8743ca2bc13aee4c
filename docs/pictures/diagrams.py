"""Make docs/pictures/flow.svg and epoch.svg: the flow of a case, and one epoch of the gate.

Usage: python docs/pictures/diagrams.py

Each has one set of colours for light pages and one for dark ones.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
STYLE = """
text { font: 13px system-ui, sans-serif; fill: var(--ink); }
.small { font-size: 11px; fill: var(--soft); }
.middle { text-anchor: middle; }
.strong { font-weight: 600; }
.box { fill: var(--box); stroke: var(--line); }
.old { fill: var(--old); stroke: var(--line); }
.new { fill: var(--new); stroke: var(--line); }
.line { stroke: var(--soft); fill: none; marker-end: url(#head); }
.store { fill: none; stroke: var(--line); }
.head { fill: var(--soft); }
svg {
  --ink: #1b1f24; --soft: #57606a; --line: #b6bec8;
  --box: #f3f5f8; --old: #cfe2ff; --new: #ffe0b8;
}
@media (prefers-color-scheme: dark) {
  svg {
    --ink: #e6edf3; --soft: #9aa4af; --line: #4b5560;
    --box: #20262d; --old: #1f4a86; --new: #7a4a10;
  }
}
"""
HEAD = (
    '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto"><path class="head" d="M0 0 8 4 0 8z"/></marker>'
)
# Stage, what it does in two lines, what it leaves in the store.
STAGES = (
    ("open", "ONNX, torch,", "TFLite, IRModule", ""),
    ("plan", "list the tasks", "", "plan"),
    ("tune", "measure", "candidates", "tuning records"),
    ("compile", "TVM's stock", "pipeline", "artifact"),
    ("run", "load and call", "the library", ""),
    ("check", "numbers", "and latency", ""),
    ("accept", "with an", "update option", "baseline"),
)
# The order of the calls of one epoch's pairs.
PAIRS = ("ON", "NO", "ON", "ON", "NO", "ON", "NO")


def text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}">{words}</text>'


def box(x: float, y: float, width: float, height: float, kind: str = "box") -> str:
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5" class="{kind}"/>'
    )


def arrow(path: str) -> str:
    return f'<path d="{path}" class="line"/>'


def picture(width: int, height: int, title: str, parts: list[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n<defs>{HEAD}</defs>\n"
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def flow() -> str:
    """Return the stages from left to right, above what each leaves in the store."""
    step, width, top, height = 132, 112, 24, 58
    parts = []
    for i, (name, first, second, leaves) in enumerate(STAGES):
        x = 12 + i * step
        middle = x + width / 2
        parts += [
            box(x, top, width, height),
            text(middle, top + 20, name, "middle strong"),
            text(middle, top + 36, first, "middle small"),
            text(middle, top + 50, second, "middle small"),
        ]
        if i + 1 < len(STAGES):
            parts.append(arrow(f"M{x + width} {top + height / 2} H{x + step - 2}"))
        if leaves:
            parts += [
                arrow(f"M{middle} {top + height} V148"),
                text(middle, 172, leaves, "middle"),
            ]
    parts += [
        box(12, 150, len(STAGES) * step - 20, 36, "store"),
        text(24, 172, "store", "strong"),
        text(
            12,
            212,
            "Each stage looks in the store first. A second run without changes tunes and compiles "
            "nothing.",
            "small",
        ),
    ]
    return picture(12 + len(STAGES) * step, 224, "The flow of a case through the stages", parts)


def epoch() -> str:
    """Return one epoch: fresh copies, one untimed call each, seven pairs, one number."""
    parts = [
        text(12, 24, "one epoch", "strong"),
        box(12, 38, 150, 30, "old"),
        text(87, 58, "accepted library", "middle"),
        box(12, 74, 150, 30, "new"),
        text(87, 94, "new library", "middle"),
        text(12, 124, "1. Fresh copies,", "small"),
        text(12, 139, "new places in memory", "small"),
        arrow("M168 71 H196"),
        box(202, 56, 26, 30, "old"),
        box(230, 56, 26, 30, "new"),
        text(202, 124, "2. One untimed", "small"),
        text(202, 139, "call each", "small"),
        arrow("M262 71 H290"),
    ]
    for i, order in enumerate(PAIRS):
        x = 298 + i * 62
        for j, side in enumerate(order):
            parts.append(box(x + j * 26, 56, 24, 30, "old" if side == "O" else "new"))
        parts.append(text(x + 25, 104, f"r{i + 1}", "middle small"))
    parts += [
        text(298, 124, "3. Up to seven pairs, each in random order;", "small"),
        text(298, 139, "r = log of the ratio of the two times", "small"),
        arrow("M736 71 H764"),
        box(770, 52, 130, 38),
        text(835, 76, "median of r1 to r7", "middle"),
        text(770, 124, "4. The epoch's only", "small"),
        text(770, 139, "number", "small"),
    ]
    return picture(912, 152, "One epoch of the latency gate", parts)


if __name__ == "__main__":
    (FOLDER / "flow.svg").write_text(flow())
    (FOLDER / "epoch.svg").write_text(epoch())
