"""What a person sees of a study in MLflow's web pages, in a real browser."""

import shutil
import tempfile

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from nasrunner.trackers.mlflow.stores.file import recall
from tests.services import chromium_programs
from tests.trackers.fakes import track
from tests.trackers.mlflow.test_tracker import NUM_CHILDREN, Records
from tests.trackers.servers import free_port, mlflow_server

pytestmark = [
    pytest.mark.slow,
    pytest.mark.chromium,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.usefixtures("browser"),  # before all others: it may skip the test
]
BEST = 1  # the child with the highest reward


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """Two studies in one experiment, and the server that shows them."""
    root = tmp_path_factory.mktemp("ui")
    database = root / "mlflow.db"
    for name, num_children in (("other", 3), ("fake", NUM_CHILDREN)):
        study = track(f"sqlite:///{database}", root / name / "2026", num_children)
    records = Records(f"sqlite:///{database}", study.folder)
    with mlflow_server(free_port(), database, root / "server.log") as uri:
        yield uri, records


@pytest.fixture(scope="module")
def browser():
    chromium, program = chromium_programs()
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    profile = tempfile.mkdtemp()
    for flag in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1600,1000",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService(program))
    yield driver
    driver.quit()
    shutil.rmtree(profile, ignore_errors=True)


class Page:
    """The browser's page, with what a person would look for."""

    def __init__(self, browser, folder):
        self.browser = browser
        self.folder = folder
        self.wait = WebDriverWait(browser, 60, ignored_exceptions=(Exception,))

    def open(self, address):
        self.browser.get(address)
        self.browser.execute_script("localStorage.clear()")  # the filter of an earlier test
        self.browser.get("about:blank")
        self.browser.get(address)

    def text(self):
        return self.browser.find_element(By.TAG_NAME, "body").text

    def until_shown(self, *texts):
        self.wait.until(lambda _: all(text in self.text() for text in texts), f"{texts}")

    def click(self, xpath):
        self.wait.until(lambda b: b.find_element(By.XPATH, xpath).click() or True)

    def is_ordered(self, texts):
        """Whether links with these texts stand one below the other."""
        links = [self.browser.find_element(By.PARTIAL_LINK_TEXT, text) for text in texts]
        heights = [link.location["y"] for link in links]
        return heights == sorted(set(heights))

    def save(self, name):
        self.browser.save_screenshot(str(self.folder / f"{name}.png"))


@pytest.fixture
def page(browser, tmp_path_factory):
    shown = Page(browser, tmp_path_factory.mktemp("screenshots"))
    yield shown
    shown.save("last")  # what a test that failed did see


def test_the_page_named_at_the_end_lists_the_children_of_one_study_best_first(studies, page):
    uri, records = studies
    page.open(uri + recall(records.folder)["page"])
    page.until_shown("0001 affine(2) → relu", f"{NUM_CHILDREN} matching runs")
    page.save("children")
    assert page.is_ordered(f"{index:04d} affine" for index in (1, 9, 6, 11))


def test_a_person_finds_the_children_of_one_study_by_tag_and_sorts_them_by_reward(studies, page):
    uri, records = studies
    page.open(f"{uri}/#/experiments/{records.experiment_id}/runs?workflowType=machine_learning")
    num_all = NUM_CHILDREN + 3 + 2  # of two studies, and their parents
    page.until_shown(f"{num_all} matching runs")
    box = page.browser.find_element(By.CSS_SELECTOR, "[data-testid=search-box]")
    box.send_keys(f"tags.`nasrunner.study` = '{records.study}' AND metrics.reward > 0", Keys.ENTER)
    page.wait.until(lambda _: f"{num_all} matching runs" not in page.text())
    page.click("//button[starts-with(normalize-space(), 'Sort')]")
    page.click("//*[@data-testid='sort-select-reward']")
    page.wait.until(lambda _: "Sort: reward" in page.text())
    page.wait.until(lambda _: page.is_ordered(f"{index:04d} affine" for index in (1, 9, 6, 11)))
    page.save("sorted")


def test_the_best_child_shows_its_architecture_figures_and_params(studies, page):
    uri, records = studies
    run = records.children()[BEST]
    page.open(f"{uri}/#/experiments/{records.experiment_id}/runs/{run.info.run_id}")
    page.until_shown("affine(units=2) → relu", "hyperparameters/optimizer.lr", "reward")
    page.save("child")


def test_a_child_shows_its_learning_curves(studies, page):
    uri, records = studies
    run = records.children()[BEST]
    page.open(f"{uri}/#/experiments/{records.experiment_id}/runs/{run.info.run_id}/model-metrics")
    page.until_shown("val_loss", "reward")
    page.wait.until(lambda _: page.browser.find_elements(By.CSS_SELECTOR, ".js-plotly-plot"))
    page.save("curves")


def test_a_child_shows_the_picture_of_its_architecture(studies, page):
    uri, records = studies
    run = records.children()[BEST]
    page.open(
        f"{uri}/#/experiments/{records.experiment_id}/runs/{run.info.run_id}"
        "/artifacts/architecture.svg"
    )
    page.until_shown("architecture.svg")

    def picture(_):
        return [
            image
            for image in page.browser.find_elements(By.TAG_NAME, "img")
            if page.browser.execute_script("return arguments[0].naturalHeight", image) > 150
        ]

    page.wait.until(picture)
    page.save("picture")


def test_the_study_shows_its_best_children_and_its_curve(studies, page):
    uri, records = studies
    run = records.parent
    page.open(f"{uri}/#/experiments/{records.experiment_id}/runs/{run.info.run_id}")
    page.until_shown("best_reward", "Ended: max_children=12 is spent", "0009")
    page.save("study")
