"""Proposals follow from the space, the seed and the ledger, on any number of threads."""

import json
import os
import subprocess
import sys

import pytest

from tests.searchers.worlds import CONF, SEARCHERS, STOPPING

OTHER_SPACES = ["deepconv_hyperparameters"]


def digests(threads: int, *arguments: str) -> dict[str, str]:
    """What a process with so many threads, and a hash seed of its own, prints."""
    libraries = ("OMP", "MKL", "OPENBLAS")
    done = subprocess.run(
        [sys.executable, "-m", "tests.searchers.knowledge", *arguments],
        env={
            **os.environ,
            **{f"{library}_NUM_THREADS": str(threads) for library in libraries},
            "PYTHONHASHSEED": str(threads),
            "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait for a core leave it to others
        },
        cwd=CONF.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_any_number_of_threads_and_any_hash_seed_give_the_same_proposals_and_knowledge() -> None:
    one, three = (digests(threads, "--long", "figure1") for threads in (1, 3))
    assert len(one) > len(SEARCHERS)
    assert three == one


@pytest.mark.slow
def test_so_they_do_on_a_space_with_decisions_of_every_kind() -> None:
    one, four = (digests(threads, *OTHER_SPACES) for threads in (1, 4))
    assert len(one) == (len(SEARCHERS) - len(STOPPING)) * len(OTHER_SPACES)
    assert four == one
