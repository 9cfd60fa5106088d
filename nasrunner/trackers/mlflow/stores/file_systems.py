"""Which file system a path lies on, as far as it matters: one of this machine, or of a network."""

import re
from pathlib import Path

MOUNTS = Path("/proc/self/mounts")
"""Where Linux lists what is mounted: device, mount point, type and options on a line."""

_NETWORK = {
    "acfs",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "fhgfs",
    "gfs2",
    "glusterfs",
    "gpfs",
    "lustre",
    "moosefs",
    "ncpfs",
    "nfs",
    "nfs4",
    "ocfs2",
    "orangefs",
    "panfs",
    "pvfs2",
    "quobyte",
    "smb3",
    "smbfs",
    "sshfs",
    "wekafs",
}
_NETWORK_IN_USER_SPACE = {
    "ceph-fuse",
    "curlftpfs",
    "davfs",
    "gcsfuse",
    "juicefs",
    "mfs",
    "rclone",
    "s3fs",
}


def network_file_system(path: Path, mounts: Path) -> str | None:
    """Returns the type of the network file system a path lies on, ``nfs4`` for example.

    Args:
        path: need not exist; what of it exists is looked at, links followed.
        mounts: a list in the format of ``/proc/self/mounts``.

    Returns:
        None: it lies on this machine, or the system does not tell.
    """
    try:
        lines = mounts.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return None
    place = path.resolve()
    kind, length = "", -1
    for line in lines:
        _, escaped, this = line.split(" ")[:3]
        point = Path(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), escaped))
        # What was mounted last over the same folder is what one sees.
        if place.is_relative_to(point) and len(point.parts) >= length:
            kind, length = this, len(point.parts)
    name = kind.removeprefix("fuse.")
    is_network = name in _NETWORK or (name != kind and name in _NETWORK_IN_USER_SPACE)
    return name if is_network else None
