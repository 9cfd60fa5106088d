"""A test that CI must run cannot be skipped without CI failing: NASRUNNER_REQUIRE."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

MANY = """
@pytest.fixture
def service():
    pytest.skip("nothing is installed")

@pytest.mark.slurm
def test_skips_itself():
    pytest.skip("nothing is installed")

@pytest.mark.slurm
def test_has_a_fixture_that_skips(service):
    pass

@pytest.mark.chromium
@pytest.mark.skipif(True, reason="nothing is installed")
def test_is_marked_to_be_skipped():
    pass

def test_has_forgotten_its_marker():
    missing("slurm", "there is no sbatch")

@pytest.mark.postgresql
def test_may_be_skipped():
    pytest.skip("nothing is installed")

@pytest.mark.slurm
def test_runs():
    pass
"""


def run(folder: Path, required: str, *options: str, **sources: str) -> tuple[int, str]:
    """The exit code and the output of tests under the rules of this folder's conftest."""
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n chromium:\n postgresql:\n slurm:\n")
    for name, source in sources.items():
        imports = "import pytest\nfrom tests.services import missing\n"
        (folder / f"test_{name}.py").write_text(imports + source)
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    own = {"PYTHONPATH": str(ROOT), "NASRUNNER_REQUIRE": required}
    done = subprocess.run(
        [*command, *options, str(folder)],
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **own},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def test_what_is_required_and_skipped_fails(tmp_path: Path) -> None:
    code, output = run(
        tmp_path,
        "chromium slurm",
        "--continue-on-collection-errors",
        many=MANY,
        whole="pytest.importorskip('no_such_package')",
    )
    assert code == 1
    assert "2 failed, 1 passed, 1 skipped, 3 errors" in output
    assert output.count("skipped, but NASRUNNER_REQUIRE=chromium slurm") >= 4
    assert "there is no sbatch, but NASRUNNER_REQUIRE names slurm" in output


def test_what_is_required_and_not_there_fails(tmp_path: Path) -> None:
    code, output = run(tmp_path, "chromium slurm", one="@pytest.mark.slurm\ndef test_a(): pass")
    assert code == 1
    assert "NASRUNNER_REQUIRE: no test of chromium has run" in output


def test_a_misspelt_requirement_fails(tmp_path: Path) -> None:
    code, output = run(tmp_path, "postgres", one="def test_a(): pass")
    assert code == 4
    assert "NASRUNNER_REQUIRE: 'postgres' is none of chromium, postgresql, slurm" in output


@pytest.mark.slow
def test_what_is_required_and_runs_passes_also_in_processes_of_xdist(tmp_path: Path) -> None:
    source = "@pytest.mark.slurm\ndef test_a(): pass\ndef test_b(): pytest.skip('')"
    code, output = run(tmp_path, "slurm", "-p", "xdist", "-n1", one=source)
    assert (code, "1 passed, 1 skipped" in output) == (0, True), output


def test_without_requirements_all_may_be_skipped_and_ctrl_c_works_in_the_background(
    tmp_path: Path,
) -> None:
    interrupt = (
        "import signal\ndef test_a():\n    with pytest.raises(KeyboardInterrupt, match=''):\n"
        "        signal.raise_signal(signal.SIGINT)\n"
    )
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited, as by `make test &`
    try:
        code, output = run(tmp_path, "", many=MANY, interrupt=interrupt)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (code, "2 passed, 5 skipped" in output) == (0, True), output
