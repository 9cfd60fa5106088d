"""The page and the files beside it."""

import csv
import os
import re
from dataclasses import replace
from html import escape
from html.parser import HTMLParser

import numpy as np
import pytest

from nasrunner.compose.launch import build_space
from nasrunner.report.page.files import Drawing, Facts, Plot, Section, Table, write_page
from nasrunner.report.page.html import shown
from nasrunner.report.page.parts import Cell, Listing
from nasrunner.report.page.style import HALF_IN, colour_of, figure, legend, looks, themed_colours
from nasrunner.spaces.pictures.drawing import draw
from tests.report.recordings import SPACE

VOID = {"meta", "link", "br", "img", "hr", "input"}


def plot(name: str, seed: int = 0) -> Plot:
    made, axes = figure(xlabel="evaluations", ylabel="reward", width_in=HALF_IN)
    points = np.random.default_rng(seed).normal(size=(2, 20))
    axes.scatter(*points, color=colour_of("blue"), label="children")
    axes.plot(*points, color=colour_of("ink"), clip_on=True)
    legend(axes)
    return Plot(name, f"Plot of {name}", "How to read it.", made)


def table(name: str = "numbers", rows=((1, 0.123456789, "a"), (2, None, "b"))) -> Table:
    return Table(name, "Numbers", "A caption.", ("rank", "reward", "text"), rows)


def write(folder, parts, *, title="A study", text="", refresh_s=None) -> str:
    sections = [Section("Part one", text, parts)]
    return write_page(title, "below", sections, folder, refresh_s=refresh_s).read_text()


class Tags(HTMLParser):
    """Fails where a tag is closed that is not open; collects attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_signs_that_the_figures_font_lacks_are_left_to_the_browser(tmp_path):
    """Options of a space may be words of any language, or a tab: no warning is printed."""
    made, axes = figure(xlabel="op", ylabel="reward", width_in=HALF_IN)
    axes.bar(["卷积", "a\tb"], [1, 2])
    text = write(tmp_path, [Plot("words", "Words", "", made)])
    assert "卷积" in text
    assert (tmp_path / "words.png").stat().st_size > 0


def test_the_page_loads_nothing_and_runs_no_script(tmp_path):
    parts = [plot("a"), table(), Drawing("A child", "", "<svg viewBox='0 0 1 1'></svg>")]
    text = write(tmp_path, parts)
    tags = Tags(text)
    assert not tags.open
    assert not {tag for tag, _, _ in tags.attributes} & {"script", "link", "iframe", "object"}
    assert "url(http" not in text
    assert "@import" not in text
    loaded = [
        value
        for tag, name, value in tags.attributes
        if name in ("src", "href", "xlink:href", "srcset") and tag != "a"
    ]
    assert loaded
    assert all(value.startswith(("#", "data:")) for value in loaded)


def test_every_plot_and_table_has_its_files(tmp_path):
    write(tmp_path / "new" / "folder", [plot("a"), plot("b"), table()])
    files = {path.name for path in (tmp_path / "new" / "folder").glob("[!.]*")}
    assert files == {"report.html", "a.png", "a.svg", "b.png", "b.svg", "numbers.csv"}
    assert (tmp_path / "new" / "folder" / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_csv_file_has_every_value_in_full(tmp_path):
    write(tmp_path, [table()])
    with (tmp_path / "numbers.csv").open() as file:
        assert list(csv.reader(file)) == [
            ["rank", "reward", "text"],
            ["1", "0.123456789", "a"],
            ["2", "", "b"],
        ]


def test_a_csv_file_holds_no_formula(tmp_path):
    write(tmp_path, [table(rows=[(-1, -0.5, "=HYPERLINK(A1)")])])
    with (tmp_path / "numbers.csv").open() as file:
        assert list(csv.reader(file))[1] == ["-1", "-0.5", "'=HYPERLINK(A1)"]


@pytest.mark.parametrize("name", ["$x_{$", r"$\frac$", "$a$"])
def test_a_dollar_in_a_name_is_a_dollar(tmp_path, name):
    made = plot("a")
    (axes,) = made.figure.axes
    axes.set_xticks([0, 1], labels=[name, name])
    axes.set_title(name)
    axes.legend([axes.lines[0]], [name])
    text = write(tmp_path, [made], title=name)
    assert text.count(escape(name)) >= 4


def test_what_is_shown_is_escaped(tmp_path):
    nasty = "<script>alert('&')</script>"
    parts = [
        table(rows=[(1, 2.0, nasty)]),
        Table("long", nasty, nasty, (nasty,), [(nasty + " long" * 30,)]),  # folded
        Facts([(nasty, nasty)]),
        Drawing(nasty, nasty, ""),
    ]
    text = write(tmp_path, parts, title=nasty, text=nasty)
    assert text.count("<script") == 1  # the page's own
    assert text.count("&lt;script&gt;") == 14  # titles of page and table, and a folded text, twice


def test_ids_of_two_figures_differ_and_every_reference_resolves(tmp_path):
    text = write(tmp_path, [plot("a"), plot("b")])
    ids = [value for _, name, value in Tags(text).attributes if name == "id"]
    assert len(ids) == len(set(ids)) > 20
    references = set(re.findall(r'(?:url\(|href=")#([^")]+)', text))
    assert references
    assert references <= set(ids)


def test_the_same_figures_make_the_same_files(tmp_path):
    for folder in ("one", "two"):
        write(tmp_path / folder, [plot("a"), table()])
    for name in ("report.html", "a.svg", "numbers.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_figures_follow_the_colour_scheme_on_the_page_only(tmp_path):
    text = write(tmp_path, [plot("a")])
    body = text[text.index("<body>") :]
    assert "var(--ink)" in body
    assert not [light for light in themed_colours() if light in body]
    assert "var(--" not in (tmp_path / "a.svg").read_text()


@pytest.mark.parametrize(("refresh_s", "expected"), [(None, 0), (5, 1)])
def test_only_a_watched_page_loads_itself_again(tmp_path, refresh_s, expected):
    text = write(tmp_path, [table()], refresh_s=refresh_s)
    assert text.count('<meta http-equiv="refresh" content="5">') == expected
    assert text.count("http-equiv") == expected


def test_a_page_that_cannot_be_written_leaves_the_old_one_whole(tmp_path, monkeypatch):
    before = write(tmp_path, [table()])

    def fail(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, [table(rows=[(3, 3.0, "c")])])
    assert (tmp_path / "report.html").read_text() == before
    assert (tmp_path / "numbers.csv").read_text().startswith("rank,reward,text\n1,")


def test_two_parts_of_one_name_are_refused(tmp_path):
    with pytest.raises(AssertionError, match=r"one name: \['numbers', 'numbers'\]"):
        write(tmp_path, [table(), table()])


def test_a_page_without_parts_is_a_page(tmp_path):
    assert "<h2>Part one</h2>" in write(tmp_path, [])
    assert "<h1>" in write_page("A", "b", [], tmp_path, refresh_s=None).read_text()


def test_a_long_table_ends_on_the_page_and_not_in_its_file(tmp_path):
    text = write(tmp_path, [table(rows=[(n, 0.5, "x") for n in range(200 + 7)])])
    assert text.count("<tr>") == 200 + 1
    assert "7 more rows in numbers.csv" in text
    assert len((tmp_path / "numbers.csv").read_text().splitlines()) == 200 + 8


def test_a_cell_leads_somewhere_and_is_its_value_in_the_csv(tmp_path):
    row = [Cell("0001", link="#child-0001", anchor="row"), Cell(0.5, hover="a<b"), None]
    text = write(tmp_path, [table(rows=[row])])
    assert '<td class="words" id="row"><a href="#child-0001">0001</a></td>' in text
    assert '<td class="number" title="a&lt;b" data-sorts="0.5">0.5000</td>' in text
    assert (tmp_path / "numbers.csv").read_text().splitlines()[1] == "0001,0.5,"


def test_a_listing_is_folded(tmp_path):
    text = write(tmp_path, [Listing("All of it", "a: <b>\n  c: 1")])
    assert "<summary>All of it</summary><pre>a: &lt;b&gt;\n  c: 1</pre>" in text


def test_a_text_of_a_figure_has_its_hover(tmp_path):
    made = plot("a")
    made.figure.axes[0].set_title("layer 2 units")
    made = replace(made, hovers={"layer 2 units": "1/repeat/1/units"})
    assert "><title>1/repeat/1/units</title>layer 2 units</text>" in write(tmp_path, [made])


def test_an_architecture_has_the_colours_of_the_page(tmp_path):
    network = build_space({"space": SPACE, "data": {}}).freeze({"0/affine/units": 1})
    text = write(tmp_path, [Drawing("a", "", draw(network))])
    drawing = text[text.index('<figure class="drawing"') : text.index("</figure>")]
    assert "var(--drawn-d55e00)" in drawing
    assert not re.findall(r'"#[0-9A-Fa-f]{3,6}"', drawing)
    assert text.count("--drawn-d55e00: ") == 2  # light and dark


def test_long_texts_fold_and_begin_where_they_differ(tmp_path):
    common = "conv2d(filters=32) → relu → " * 5
    rows = [(n, 0.5, f"{common}affine(units={n})") for n in (1, 2)]
    text = write(tmp_path, [table(rows=rows)])
    assert "<summary>… → affine(units=1)</summary>" in text
    assert f"</summary>{common}affine(units=2)</details>" in text


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([0.9547, 0.95122, None], ["0.9547", "0.9512", "–"]),
        ([93.12667, 9.5], ["93.13", "9.50"]),
        ([-0.5, float("nan")], ["−0.5000", "–"]),
        ([25.0, 0.0216], ["25.000", "0.022"]),
        ([1.0, 1e-7], ["1", "1e−07"]),
        ([1234567, 12], ["1,234,567", "12"]),
        ([1234567.8], ["1,234,568"]),
        ([0.0, 0.0], ["0", "0"]),
        ([True, "a"], ["True", "a"]),
        ([float("inf"), 1.0], ["inf", "1.000"]),
        ([], []),
    ],
)
def test_numbers_of_a_column_have_their_points_in_a_line(column, expected):
    assert shown(column) == expected


def test_the_first_24_lines_of_a_figure_can_be_told_apart():
    found = looks([str(n) for n in range(24)])
    assert len({(look.colour, look.dashes) for look in found.values()}) == 24
    assert len({look.marker for look in list(found.values())[:6]}) == 6
