"""A folder is a room: it holds few files, which belong together; and a name is one thing's."""

import ast
from collections import Counter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MOST = 15
OPTIONS = sorted((ROOT / "conf" / "searcher").glob("*.yaml"))
OF_SEVERAL_METHODS = {
    **dict.fromkeys(("tpe", "gp", "cmaes", "nsga2", "motpe"), "optuna"),
    **dict.fromkeys(("reinforce", "ppo"), "policy_gradient"),
    **dict.fromkeys(("spos", "random_sharing"), "single_path"),
}
"""Options of a searcher -> the file that holds them and others."""


def test_a_folder_holds_at_most_fifteen_files() -> None:
    files = [p for room in ("nasrunner", "tests") for p in (ROOT / room).rglob("*") if p.is_file()]
    kept = [path for path in files if "__pycache__" not in path.parts]
    counts = Counter(path.relative_to(ROOT).parent for path in kept)
    assert len(counts) > 40
    assert {str(f): n for f, n in counts.items() if n > MOST and f.name != "golden"} == {}


def test_a_class_name_means_one_thing() -> None:
    counts = Counter(
        node.name
        for path in (ROOT / "nasrunner").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    )
    assert len(counts) > 300
    # A task and a module of spaces, both under the name that configurations know.
    assert {name for name, count in counts.items() if count > 1} == {"LanguageModel"}


@pytest.mark.parametrize("option", OPTIONS, ids=lambda path: path.stem)
def test_a_searcher_lies_in_the_file_that_its_option_is_called_by(option: Path) -> None:
    module = yaml.safe_load(option.read_text(encoding="utf-8"))["_target_"].split(".")[-2]
    name = OF_SEVERAL_METHODS.get(option.stem, option.stem)
    assert name == module or name.startswith(f"{module}_")
