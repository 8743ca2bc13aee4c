"""The file system of a folder, from lines as Linux writes them, and whether its locks are local."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_tvmtune.machine.mounts import Mount, kernel_id, mount_of

LINES = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
31 27 0:28 / /srv rw,relatime shared:7 master:1 - nfs4 nas:/srv rw,vers=4.2,local_lock=none
32 27 0:29 / /old rw,relatime - nfs nas:/old rw,vers=3,nolock,proto=tcp,local_lock=all
33 27 0:30 / /with\040space rw,nosuid - fuse.sshfs nas:/a\040b rw,user_id=0
34 27 0:31 / /srv/deep ro,relatime - cifs //nas/deep rw,vers=3.1.1,nobrl
35 34 0:32 / /srv/deep rw,relatime - xfs /dev/vdb rw
36 27 0:33 / /back\134slash rw - 9p  rw,trans=virtio
"""


@pytest.fixture
def mountinfo(tmp_path: Path) -> Path:
    path = tmp_path / "mountinfo"
    path.write_text(LINES)
    return path


@pytest.mark.parametrize(
    ("folder", "point", "kind", "local_locks"),
    [
        ("/home", "/", "ext4", ""),
        ("/srv", "/srv", "nfs4", ""),
        ("/srv/ci/.tvmtune", "/srv", "nfs4", ""),
        ("/srving", "/", "ext4", ""),
        ("/old/ci", "/old", "nfs", "nfs mounted with local_lock=all"),
        ("/with space/x", "/with space", "fuse.sshfs", "fuse.sshfs"),
        # Of two at one point, the later covers the earlier.
        ("/srv/deep/x", "/srv/deep", "xfs", ""),
        ("/back\\slash", "/back\\slash", "9p", "9p"),
    ],
)
def test_the_mount_around_a_folder(
    mountinfo: Path, folder: str, point: str, kind: str, local_locks: str
) -> None:
    found = mount_of(Path(folder), mountinfo)
    assert found is not None
    assert (found.point, found.kind, found.local_locks) == (Path(point), kind, local_locks)


@pytest.mark.parametrize(
    ("kind", "options", "local_locks"),
    [
        ("nfs4", "rw,vers=4.2,local_lock=none", ""),
        ("nfs", "rw,vers=3,local_lock=none", ""),
        ("nfs", "rw,vers=3,local_lock=flock", "nfs mounted with local_lock=flock"),
        ("nfs", "rw,vers=3,local_lock=posix", "nfs mounted with local_lock=posix"),
        ("nfs", "rw,nolock", "nfs mounted with nolock"),
        ("cifs", "rw,vers=3.1.1", ""),
        ("smb3", "rw,nobrl", "smb3 mounted with nobrl"),
        # An option of another kind has no effect here.
        ("ext4", "rw,nolock", ""),
        ("lustre", "rw,flock", ""),
        ("lustre", "rw,localflock", "lustre mounted with localflock"),
        ("fuse", "rw", "fuse"),
        ("fuse.rclone", "rw", "fuse.rclone"),
        ("fuse.juicefs", "rw", ""),
        # A disk, such as one of Windows.
        ("fuseblk", "rw", ""),
        ("virtiofs", "rw", "virtiofs"),
        ("overlay", "rw", ""),
    ],
)
def test_where_locks_are_local(kind: str, options: str, local_locks: str) -> None:
    mount = Mount(point=Path("/srv"), kind=kind, options=frozenset(options.split(",")))
    assert mount.local_locks == local_locks


def test_where_nothing_is_known(tmp_path: Path) -> None:
    assert mount_of(tmp_path, tmp_path / "absent") is None
    strange = tmp_path / "strange"
    strange.write_bytes(b"\n- - -\n1 2 3\n\xff\xfe\n1 2 3 4 /srv rw\n")
    assert mount_of(tmp_path, strange) is None


def test_a_link_is_followed(tmp_path: Path, mountinfo: Path) -> None:
    (tmp_path / "link").symlink_to("/srv")
    found = mount_of(tmp_path / "link" / "ci", mountinfo)
    assert found is not None
    assert found.kind == "nfs4"


@pytest.mark.skipif(not Path("/proc/self/mountinfo").exists(), reason="only Linux has it")
def test_this_machine(tmp_path: Path) -> None:
    found, proc = mount_of(tmp_path), mount_of(Path("/proc"))
    assert found is not None
    assert proc is not None
    assert tmp_path.resolve().is_relative_to(found.point)
    assert (proc.point, proc.kind) == (Path("/proc"), "proc")
    assert len(kernel_id()) == len("01234567-89ab-cdef-0123-456789abcdef")
