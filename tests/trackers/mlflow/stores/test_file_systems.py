from pathlib import Path

import pytest

from nasrunner.trackers.mlflow.stores.file_systems import MOUNTS, network_file_system

LISTED = """\
/dev/sda1 / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
home:/export /home nfs4 rw,vers=4.2 0 0
/dev/sdb1 /home/scratch xfs rw 0 0
10.0.0.1@tcp:/lus /lustre\\040two lustre rw,flock 0 0
me@host: /mnt/laptop fuse.sshfs rw 0 0
gvfsd-fuse /run/user/0/gvfs fuse.gvfsd-fuse rw 0 0
s3fs /bucket fuse.s3fs rw 0 0
//nas/share /share ext4 rw 0 0
//nas/share /share cifs rw 0 0
fs1 /gpfs gpfs rw 0 0
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    (tmp_path / "mounts").write_text(LISTED)
    return tmp_path / "mounts"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/data/outputs", None),
        ("/home/me/outputs", "nfs4"),
        ("/home", "nfs4"),
        ("/homework", None),
        ("/home/scratch/outputs", None),
        ("/lustre two/outputs", "lustre"),
        ("/mnt/laptop/x", "sshfs"),
        ("/run/user/0/gvfs/x", None),
        ("/bucket", "s3fs"),
        ("/share/x", "cifs"),
        ("/gpfs/x", "gpfs"),
    ],
)
def test_a_path_lies_where_the_longest_mount_point_and_of_two_the_last_says(mounts, path, kind):
    assert network_file_system(Path(path), mounts) == kind


def test_a_link_into_a_network_file_system_is_followed(tmp_path, mounts):
    mounts.write_text(f"{LISTED}server:/x {tmp_path}/net nfs rw 0 0\n")
    (tmp_path / "net").mkdir()
    (tmp_path / "outputs").symlink_to(tmp_path / "net")
    assert network_file_system(tmp_path / "outputs" / "new", mounts) == "nfs"


def test_a_system_that_does_not_list_its_mounts_has_no_network_file_system(tmp_path):
    assert network_file_system(tmp_path, tmp_path / "missing") is None


@pytest.mark.skipif(not MOUNTS.exists(), reason="Linux lists its mounts there")
def test_the_mounts_of_this_machine_are_understood():
    assert network_file_system(Path("/proc/self"), MOUNTS) is None
