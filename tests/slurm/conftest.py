"""A SLURM cluster for the session: each process of pytest-xdist has its own."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import missing
from tests.slurm.cluster import Cluster, missing_programs
from tests.slurm.machines.configuration import Lab
from tests.slurm.machines.ports import reserve_ports


@pytest.fixture(scope="session")
def slurm() -> Iterator[Cluster]:
    """Four nodes with four CPUs and two made-up GPUs each; SLURM_CONF and PATH lead to them."""
    yield from _running_cluster(has_accounting=False)


@pytest.fixture(scope="module")
def slurm_with_accounting() -> Iterator[Cluster]:
    """The same with slurmdbd: sacct knows of every job, and an account must exist."""
    yield from _running_cluster(has_accounting=True)


def _running_cluster(has_accounting: bool) -> Iterator[Cluster]:
    if programs := missing_programs(has_accounting):
        missing("slurm", f"{', '.join(programs)} not installed: run tests/slurm/install.sh")
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    cluster = Cluster(Lab(folder, reserve_ports(), has_accounting=has_accounting))
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("SLURM_", "SBATCH_"))]:
            patch.delenv(name)
        for name in ("PATH", "SLURM_CONF"):
            patch.setenv(name, cluster.environment[name])
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()
    shutil.rmtree(folder)
