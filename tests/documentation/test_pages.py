"""The README and the pages: what they link to is there, and what they repeat is what it was."""

import html
import re
import sys
from pathlib import Path

import pytest

from tests.documentation.pages import PAGES, ROOT, blocks_of, languages_of, name_of, prose_of

sys.path.insert(0, str(ROOT / "docs"))
import module_examples
import reference  # of docs/, which is no package

sys.path.remove(str(ROOT / "docs"))

LINK = re.compile(r"\]\(([^)\s]+)\)")
ANCHOR_LINKS = [(page, link) for page in PAGES for link in LINK.findall(prose_of(page))]


def test_every_link_leads_to_a_file_and_a_heading_of_it() -> None:
    assert len(ANCHOR_LINKS) > 100
    missing = []
    for page, link in ANCHOR_LINKS:
        path, _, anchor = link.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.is_file() or (anchor and anchor not in anchors_of(there)):
            missing.append((name_of(page), link))
    assert missing == []


def anchors_of(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


def test_the_picture_of_a_terminal_shows_the_readmes_command() -> None:
    """``docs/pictures.py`` makes it."""
    (command,) = (
        block.strip()
        for block in blocks_of(ROOT / "README.md", "bash")
        if block.startswith("nasrunner ") and block.count("\n") == 1
    )
    svg = (ROOT / "docs/pages/pictures/terminal.svg").read_text(encoding="utf-8")
    shown = html.unescape(svg).replace("\xa0", " ")
    assert f"$ {command}<" in shown
    assert not re.search(r"/(tmp|home|root|work)/", shown)


def test_every_page_is_in_the_navigation_and_in_the_readme() -> None:
    names = {p.relative_to(ROOT / "docs" / "pages").as_posix() for p in PAGES if p.parent != ROOT}
    text = (ROOT / "docs" / "mkdocs.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"[\w/]+\.md", text.partition("\nnav:")[2]))
    assert {each for each in named if not each.startswith("repository/")} == names
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {each for each in names if f"(docs/pages/{each})" not in readme} == {"index.md"}


def test_the_first_page_leads_where_the_readme_does() -> None:
    led = []
    for page in (ROOT / "README.md", ROOT / "docs" / "pages" / "index.md"):
        rows = re.findall(r"^\|.*$", page.read_text(encoding="utf-8"), re.MULTILINE)
        links = re.findall(r"\]\((.*?)\)", "".join(rows))
        led.append([(page.parent / link).resolve() for link in links])
    assert len(led[0]) > 15
    assert led[0] == led[1]


def test_every_block_says_what_language_it_is_in() -> None:
    named = {language for page in PAGES for language in languages_of(page)}
    assert named == {"bash", "python", "yaml"}


def test_a_file_that_a_page_shows_is_that_file() -> None:
    shown = 0
    for page in PAGES:
        if page == reference.PAGES / "modules.md":  # its examples are compared with modules.yaml
            continue
        for block in blocks_of(page, "yaml"):
            first, _, rest = block.partition("\n")
            name = first.removeprefix("# ").partition(":")[0]
            at = ROOT / name if name.startswith("conf/") else ROOT / "examples/own_parts" / name
            if not at.is_file():
                assert name == "mine.yaml", f"{name_of(page)} shows {name}, which is not there"
                continue
            lines = at.read_text(encoding="utf-8").splitlines()
            assert rest.splitlines() == lines[-len(rest.splitlines()) :], name
            shown += 1
    assert shown >= 5


def test_every_searcher_stands_in_the_table_of_searchers() -> None:
    text = (ROOT / "docs/pages/searchers/all.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert sorted(named) == sorted(p.stem for p in (ROOT / "conf/searcher").glob("*.yaml"))


@pytest.mark.parametrize("group", ["data", "task", "executor", "tracker", "optimizer", "scheduler"])
def test_every_option_of_a_group_is_told_of_first(group: str) -> None:
    text = (ROOT / "docs/pages/first_search.md").read_text(encoding="utf-8")
    (row,) = [line for line in text.splitlines() if re.match(rf"\| .*`{group}`", line)]
    options = {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")}
    assert options <= set(re.findall(r"`(\w+)`", row))


def test_the_experiments_stand_on_the_page_of_papers() -> None:
    text = (ROOT / "docs/pages/papers.md").read_text(encoding="utf-8")
    names = [path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml")]
    assert [name for name in names if f"experiment={name}" not in text] == []
    sweeps = [path.stem for path in (ROOT / "sweeps").glob("*.yaml")]
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [name for name in sweeps if f"--config-name {name}" not in pages] == []


def test_the_page_of_modules_is_what_the_code_says() -> None:
    written = (reference.PAGES / "modules.md").read_text(encoding="utf-8")
    examples = module_examples.module_examples()
    assert examples.keys() == {module.name() for module in reference.language()}
    assert written == reference.modules_page(examples), "python docs/reference.py"
    assert len(re.findall(r"^### ", written, re.MULTILINE)) > 45
    pictures = {path.stem: path for path in (reference.PAGES / "pictures/modules").glob("*.svg")}
    drawn = {name: svg for each in examples.values() for name, svg in each.pictures.items()}
    assert pictures.keys() == drawn.keys(), "python docs/reference.py"
    for name, path in pictures.items():
        assert path.read_text(encoding="utf-8") == drawn[name], name


def test_the_example_of_a_module_has_that_module_in_it() -> None:
    found = module_examples.module_examples()
    assert [name for name, each in found.items() if not re.search(rf"\b{name}\b", each.yaml)] == []


def test_the_sizes_of_examples_are_what_is_counted_by_hand() -> None:
    facts = {name: each.facts for name, each in module_examples.module_examples().items()}
    weights = 3 * 3 * 3 * 16
    assert facts["conv2d"] == (
        f"3×32×32 → 16×16×16, {weights + 16} parameters, {2 * weights * 16 * 16:,} FLOPs"
    )
    assert facts["affine"] == "64 → 10, 650 parameters, 1,280 FLOPs"
    assert facts["relu"] == "64 → 64, 0 parameters, 0 FLOPs"


def test_the_page_of_modules_is_light() -> None:
    pictures = (reference.PAGES / "pictures" / "modules").glob("*.svg")
    size = sum(path.stat().st_size for path in [reference.PAGES / "modules.md", *pictures])
    assert size < 1_000_000


def test_the_page_of_settings_has_every_option() -> None:
    written = reference.SETTINGS.read_text(encoding="utf-8")
    assert written == reference.settings_page(), "python docs/reference.py"
    groups = {path.name for path in (ROOT / "conf").iterdir() if path.is_dir()}
    assert groups - set(reference.OPTIONS) == {"experiment", "hydra", "space"}


@pytest.mark.slow
def test_the_page_of_spaces_is_what_the_code_says() -> None:
    assert (reference.PAGES / "shipped.md").read_text(encoding="utf-8") == reference.shipped_page()
    pictures = {path.stem: path for path in (reference.PAGES / "pictures").glob("*.svg")}
    spaces = reference.shipped_spaces()
    assert pictures.keys() == spaces.keys()
    for name, space in spaces.items():
        assert pictures[name].read_text(encoding="utf-8") == reference.picture(name, space), name


def test_pictures_are_no_larger_than_pages_can_bear() -> None:
    pictures = [p for p in (ROOT / "docs/pages").rglob("*") if p.suffix in (".svg", ".png")]
    assert len(pictures) > 20
    assert [p.name for p in pictures if p.stat().st_size > 300_000] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900
