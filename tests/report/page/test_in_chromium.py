"""The page as a person sees it, in a real browser without a network."""

import itertools
import shutil
import tempfile

import numpy as np
import pytest
from selenium import webdriver

from nasrunner.recorded import find_studies, read_study
from nasrunner.report.comparison.baselines import find_baselines
from nasrunner.report.comparison.groups import groups
from nasrunner.report.comparison.sections import compare_sections
from nasrunner.report.one_study import study_sections
from nasrunner.report.page.files import write_page
from tests.report.comparison.test_spaces import FEW, MORE
from tests.report.recordings import EVOLUTION, recorded
from tests.report.study.test_sections import with_curves
from tests.services import chromium_programs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.chromium,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.usefixtures("browser"),  # before all others: it may skip the test
]

# Pairs of texts of one figure whose boxes share more than a line's edge.
OVERLAPS = """
const found = [];
for (const svg of document.querySelectorAll('figure.plot svg')) {
  const boxes = [...svg.querySelectorAll('text')]
    .filter(text => text.textContent.trim())
    .map(text => [text.textContent, text.getBoundingClientRect()]);
  boxes.forEach(([a, r], i) => boxes.slice(i + 1).forEach(([b, s]) => {
    const width = Math.min(r.right, s.right) - Math.max(r.left, s.left);
    const height = Math.min(r.bottom, s.bottom) - Math.max(r.top, s.top);
    if (width > 1 && height > 0.35 * Math.min(r.height, s.height)) found.push(a + ' | ' + b);
  }));
}
return found;
"""


NUM_PLOTS = {"page": 8, "comparison": 6}


@pytest.fixture(scope="module")
def browser():
    chromium, program = chromium_programs()
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    profile = tempfile.mkdtemp()
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(program))
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd(
        "Network.emulateNetworkConditions",
        {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0},
    )
    yield driver
    driver.quit()
    shutil.rmtree(profile, ignore_errors=True)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    study = with_curves(folder / "study", num_children=20)
    study.child(None, cost_s=0.5)
    sections = study_sections(read_study(study.end()))
    return write_page("A study", "below", sections, folder / "report", refresh_s=None)


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    """Five searches in two spaces."""
    folder = tmp_path_factory.mktemp("comparison")
    for seed, space, size in itertools.product(range(2), (FEW, MORE), (None, 5, 10)):
        searcher = {"searcher": {**EVOLUTION, "population_size": size}} if size else {}
        rewards = np.random.default_rng(seed + (size or 0)).uniform(size=25).tolist()
        place = folder / f"{len(space['concat'][1]['or'])}-{size}-{seed}"
        recorded(place, rewards, cost_s=1.0, space=space, seed=seed, **searcher)
    found = groups(find_studies([folder]), "settings")
    sections = compare_sections(found, find_baselines(found, None), None)
    return write_page("A comparison", "below", sections, folder / "report", refresh_s=None)


def colour_of(browser, selector, name):
    script = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
    return browser.execute_script(script, selector, name)


@pytest.mark.parametrize("width", [1600, 1100, 700, 400])
def test_nothing_is_wider_than_the_window(browser, page, width):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("shown", ["page", "comparison"])
def test_no_two_texts_of_a_figure_overlap(browser, shown, request):
    size = {"width": 1300, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(request.getfixturevalue(shown).as_uri())
    assert (
        browser.execute_script("return document.querySelectorAll('figure.plot').length")
        == NUM_PLOTS[shown]
    )
    assert browser.execute_script(OVERLAPS) == []


def test_a_click_sorts_rows(browser, page):
    browser.get(page.as_uri())
    rewards = """
        const table = [...document.querySelectorAll('figure.table')]
          .find(each => each.querySelector('h3').textContent === 'All children');
        const place = [...table.querySelectorAll('th')].findIndex(h => h.textContent === 'reward');
        table.querySelectorAll('th')[place].click();
        return [...table.querySelectorAll('tbody tr')].map(row => row.cells[place].dataset.sorts);
    """
    down, up = browser.execute_script(rewards), browser.execute_script(rewards)
    known = [float(each) for each in down if each is not None]
    assert known == sorted(known, reverse=True)
    assert [float(each) for each in up if each is not None] == sorted(known)
    assert down[-1] is None  # the child that failed, either way
    assert up[-1] is None


def test_every_link_within_the_page_leads_somewhere(browser, page):
    browser.get(page.as_uri())
    script = """
        return [...document.querySelectorAll('a[href^="#"]')]
          .map(a => a.getAttribute('href').slice(1)).filter(id => !document.getElementById(id));
    """
    assert browser.execute_script(script) == []


def test_a_picture_is_enlarged_and_closed(browser, page):
    browser.get(page.as_uri())
    browser.execute_script("document.querySelector('figure.drawing button').click()")
    assert browser.execute_script("return document.getElementById('large').open")
    width = "return document.querySelector('#large svg').getBoundingClientRect().width"
    before = browser.execute_script(width)
    browser.execute_script("document.querySelector('[data-zoom=\"1.25\"]').click()")
    assert browser.execute_script(width) == pytest.approx(1.25 * before, rel=0.01)
    browser.execute_script("document.querySelector('#large button:not([type])').click()")
    assert not browser.execute_script("return document.getElementById('large').open")


def test_what_scrolls_says_so(browser, page):
    size = {"width": 400, "height": 900, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.as_uri())
    script = """
        return [...document.querySelectorAll('.scroll, .picture')].filter(box => {
          const scrolls = box.scrollWidth > box.clientWidth + 1
            || box.scrollHeight > box.clientHeight + 1;
          return scrolls === box.previousElementSibling.hidden;
        }).length;
    """
    assert browser.execute_script(script) == 0


def test_the_browser_has_nothing_to_complain_of(browser, page):
    browser.get(page.as_uri())
    assert browser.get_log("browser") == []


@pytest.mark.parametrize(
    ("scheme", "paper", "ink"),
    [
        ("light", "rgb(254, 254, 254)", "rgb(31, 35, 40)"),
        ("dark", "rgb(20, 24, 29)", "rgb(232, 235, 239)"),
    ],
)
def test_page_and_figures_follow_the_colour_scheme(browser, page, scheme, paper, ink):
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(page.as_uri())
    assert colour_of(browser, "body", "backgroundColor") == paper
    assert colour_of(browser, "figure.plot svg .legend, h2", "color") == ink
    fills = browser.execute_script(
        "return [...document.querySelectorAll('figure.plot svg text')]"
        ".map(text => getComputedStyle(text).fill)"
    )
    assert ink in fills
