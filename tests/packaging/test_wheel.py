"""What is installed from a wheel works in an empty folder, without the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the wheel's content and nothing else of ours."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder)]
    subprocess.run([*command, str(ROOT)], check=True)
    (wheel,) = folder.glob("nasrunner-*.whl")
    site = folder / "site"
    zipfile.ZipFile(wheel).extractall(site)
    return site


def run(
    site: Path, folder: Path, *arguments: str, module: str = "nasrunner"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_the_shipped_configuration_is_found_in_the_wheel(site: Path, tmp_path: Path) -> None:
    done = run(site, tmp_path, "--info", "searchpath")
    assert str(site / "nasrunner" / "conf") in done.stdout, done.stderr
    assert (site / "nasrunner" / "sweeps" / "searchers.yaml").is_file()


@pytest.mark.slow
def test_a_users_own_space_is_searched_and_shown_from_an_empty_folder(
    site: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine" / "space").mkdir(parents=True)
    (tmp_path / "mine" / "space" / "tiny.yaml").write_text(
        "concat: [{affine: {units: {oneof: [4, 8]}}}, relu, {affine: {units: 10}}]\n"
    )
    overrides = ["space=tiny", "executor=serial", "tracker=none", "trainer.max_epochs=1"]
    done = run(site, tmp_path, "--config-dir", "mine", "hydra.run.dir=study", *overrides)
    assert done.returncode == 0, done.stderr
    assert "all 2 architectures were evaluated" in done.stdout
    shown = run(site, tmp_path, "from=study", "to=page", module="nasrunner.report.command")
    assert shown.returncode == 0, shown.stderr
    assert "</html>" in (tmp_path / "page" / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_sweeps_of_the_readme_are_found_in_an_empty_folder(site: Path, tmp_path: Path) -> None:
    named = ["--config-dir", "sweeps", "--config-name", "searchers"]
    done = run(site, tmp_path, *named, "--cfg", "hydra")
    assert done.returncode == 0, done.stderr
    assert "params:\n" in done.stdout
    assert str(site / "nasrunner" / "sweeps") in done.stdout
