"""Reading a file of lines while another process writes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(kw_only=True)
class LineTail:
    """A growing file of lines, read as it grows."""

    path: Path
    offset: int = 0

    def new_lines(self) -> list[bytes]:
        """Return the whole lines written since the last call."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self.offset)
            lines = [line for line in file if line.endswith(b"\n")]
        self.offset += sum(map(len, lines))
        return lines
