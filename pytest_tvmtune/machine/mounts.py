"""The file system of a folder, and whether a lock in it holds between machines.

Sources: proc(5) on mountinfo; flock(2), nfs(5), and mount.cifs(8) on locks.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_MOUNTINFO = Path("/proc/self/mountinfo")
_KERNEL_ID = Path("/proc/sys/kernel/random/boot_id")
# `36 35 98:0 /root /point options tags - kind source options`; in names, \040 is a space.
_LINE = re.compile(
    r"^(?:[^ \n]+ ){4}(?P<point>[^ \n]+) (?P<options>[^ \n]+) (?:[^ \n]+ )*?- "
    r"(?P<kind>[^ \n]+) [^ \n]* (?P<own_options>[^ \n]*)$",
    re.MULTILINE,
)
_ESCAPE = re.compile(r"\\([0-7]{3})")
# With these options, a client doesn't send its locks to the server.
_LOCAL_NFS = {"nolock", "local_lock=all", "local_lock=flock", "local_lock=posix"}
_LOCAL_OPTIONS = {
    "nfs": _LOCAL_NFS,
    "nfs4": _LOCAL_NFS,
    "cifs": {"nobrl"},
    "smb3": {"nobrl"},
    "lustre": {"localflock"},
}
# Of these, and of FUSE, the mount doesn't show whether the other side knows the locks.
_LOCAL_KINDS = ("9p", "virtiofs", "fuse")
_FUSE_WITH_LOCKS = ("fuse.ceph-fuse", "fuse.glusterfs", "fuse.juicefs")


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A mounted file system. kind: such as `nfs4`. options: of the mount, and of its kind."""

    point: Path
    kind: str
    options: frozenset[str]

    @property
    def local_locks(self) -> str:
        """The reason why a lock may hold on this machine only, "" if it holds on all machines."""
        if found := sorted(self.options & _LOCAL_OPTIONS.get(self.kind, set())):
            return f"{self.kind} mounted with {found[0]}"
        is_local = self.kind.partition(".")[0] in _LOCAL_KINDS
        return self.kind if is_local and self.kind not in _FUSE_WITH_LOCKS else ""


def mount_of(folder: Path, mountinfo: Path = _MOUNTINFO) -> Mount | None:
    """Return the file system of a folder, None where that isn't known, as on macOS."""
    resolved = folder.resolve()
    try:
        text = os.fsdecode(mountinfo.read_bytes())
    except OSError:
        return None
    mounts = [_parsed(line) for line in _LINE.finditer(text)]
    around = [mount for mount in mounts if resolved.is_relative_to(mount.point)]
    # Of two at one point, the later covers the earlier.
    return max(reversed(around), key=lambda mount: len(mount.point.parts), default=None)


def _parsed(line: re.Match[str]) -> Mount:
    return Mount(
        point=Path(_ESCAPE.sub(lambda found: chr(int(found[1], 8)), line["point"])),
        kind=line["kind"],
        options=frozenset(f"{line['options']},{line['own_options']}".split(",")),
    )


def kernel_id() -> str:
    """Return the id of the running kernel, which containers of a machine share, "" if unknown."""
    try:
        return _KERNEL_ID.read_text().strip()
    except OSError:
        return ""
