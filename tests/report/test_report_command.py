import csv
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote

import pytest
from mlflow import MlflowClient

from nasrunner.core import ConfigError, Outcome
from nasrunner.recorded import EmptyStudyError, read_study, resumable
from nasrunner.report import command
from nasrunner.report.arguments import help_text, parse
from nasrunner.report.watching import watch
from tests.report.recordings import EVOLUTION, Recording, recorded
from tests.trackers.mlflow.test_reading import track

# MLflow 3.17 uses what SQLAlchemy 2.1 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
MLFLOW = {"_target_": "nasrunner.trackers.mlflow.tracker.MlflowTracker"}


@pytest.fixture
def run(monkeypatch, capsys):
    """Calls the command; returns its exit code, standard output and standard error."""

    def called(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nasrunner-report", *arguments])
        code = 0
        try:
            command.main()
        except SystemExit as stopped:
            code = stopped.code
        return code, *capsys.readouterr()

    return called


def refused(run, *arguments: str) -> str:
    """The one sentence on standard error."""
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("nasrunner-report: ")
    return err.removeprefix("nasrunner-report: ").strip()


def sweep(folder: Path, num_seeds: int = 2, length: int = 6) -> Path:
    for seed in range(num_seeds):
        plain = [0.3 + 0.01 * child + 0.001 * seed for child in range(length)]
        recorded(folder / f"random{seed}", plain, cost_s=2.0, seed=seed)
        better = [None, *(reward + 0.1 for reward in plain[1:])]
        recorded(folder / f"evolution{seed}", better, 2.0, seed=seed, searcher=EVOLUTION)
    return folder


# The pages


def test_a_comparison_is_a_page_with_figures_and_tables_beside_it(run, tmp_path):
    folder = sweep(tmp_path / "sweep")
    code, out, err = run(f"from={folder}", "budgets=2,6")
    assert (code, err) == (0, "")
    assert out == f"{folder}/report/report.html\n"
    page = (folder / "report" / "report.html").read_text()
    assert "Comparison of evolution and random" in page
    assert "After 6 evaluations evolution" in page
    for name in ("best_by_evaluations", "best_by_wall_time", "best_by_training_time"):
        assert (folder / "report" / f"{name}.png").stat().st_size > 5000
        assert "evolution" in (folder / "report" / f"{name}.svg").read_text()
    with (folder / "report" / "budgets.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["evaluations"], row["searcher"], row["seeds"]) for row in rows] == [
        ("2", "evolution", "2"),
        ("2", "random", "2"),
        ("6", "evolution", "2"),
        ("6", "random", "2"),
    ]
    assert float(rows[2]["mean best reward"]) == pytest.approx(0.4505)
    assert float(rows[2]["minus random"]) == pytest.approx(0.1)
    assert (folder / "report" / "difference_of_top_children.png").stat().st_size > 5000
    assert (folder / "report" / "top_children.csv").is_file()
    assert "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "")


def folders_from(page: Path) -> set[Path]:
    """Where the page's links to folders lead."""
    links = re.findall(r'href="([^"#]+/)"', page.read_text())
    return {(page.parent / unquote(link)).resolve() for link in links}


@pytest.mark.slow
def test_numbers_lead_to_folders_of_children_wherever_the_page_lies(run, tmp_path):
    sweep(tmp_path / "a sweep #1", num_seeds=1, length=3)
    study, other = tmp_path / "a sweep #1" / "evolution0", tmp_path / "a sweep #1" / "random0"
    children = {study / "children" / name for name in ("0001", "0002")}
    for folder in (*children, other / "children" / "0002"):
        folder.mkdir(parents=True)
    assert run(f"from={study}")[0] == 0
    assert folders_from(study / "report" / "report.html") == children
    assert run(f"from={study}", f"to={tmp_path}/else where/page")[0] == 0
    assert folders_from(tmp_path / "else where" / "page" / "report.html") == children
    assert run(f"from={study.parent}")[0] == 0  # a comparison, of which this one is the best
    studies = {other}  # that of this one is a page by now
    assert folders_from(study.parent / "report" / "report.html") == children | studies


def test_a_comparison_leads_to_a_page_of_each_study(run, tmp_path):
    folder = sweep(tmp_path / "sweep", num_seeds=1, length=3)
    assert run(f"from={folder}", "each=true")[0] == 0
    page = (folder / "report" / "report.html").read_text()
    links = re.findall(r'href="([^"#]+report\.html)"', page)
    names = ["evolution0", "random0"]
    assert links == [f"../{name}/report/report.html" for name in names]
    for name in names:
        assert "<h1>" in (folder / name / "report" / "report.html").read_text()


def test_the_best_study_of_a_comparison_is_named(run, tmp_path):
    folder = sweep(tmp_path / "sweep", length=3)
    recorded(folder / "again", [0.3, 0.4 + 0.021, 0.1], 2.0, seed=2, searcher=EVOLUTION)
    assert run(f"from={folder}")[0] == 0
    page = (folder / "report" / "report.html").read_text()
    told = "Of evolution with seed 1, in "
    assert f"{told}{folder}/evolution1: the first of 2 with this reward." in page


@pytest.mark.parametrize("given", ["watch=outputs", "from=mlflow"])
def test_pages_of_each_study_need_folders(run, given):
    assert refused(run, given, "each=true") == (
        "each=true needs from=<folders>: pages stand in the studies' folders"
    )


@pytest.mark.slow
def test_a_page_that_goes_to_a_tracker_leads_to_no_folders(run, tmp_path):
    folder = recorded(tmp_path / "study", [0.5])
    (folder / "children" / "0000").mkdir(parents=True)
    assert run(f"from={folder}", "log=true")[0] == 0
    page = folder / "report" / "report.html"
    assert folders_from(page) == set()
    assert "leads to the child" not in page.read_text()


def test_one_study_has_its_page_in_its_own_folder(run, tmp_path):
    folder = recorded(tmp_path / "study", [0.5, None, 0.7], cost_s=2.0)
    code, out, _ = run(f"from={folder}")
    assert (code, out) == (0, f"{folder}/report/report.html\n")
    page = (folder / "report" / "report.html").read_text()
    assert "bad luck" in page
    assert "best_by_wall_time" in page


def test_a_study_whose_children_all_failed_is_reported_with_the_reasons(run, tmp_path):
    folder = recorded(tmp_path / "study", [None, None])
    code, _, err = run(f"from={folder}")
    assert (code, err) == (0, "")
    assert "bad luck" in (folder / "report" / "report.html").read_text()


def test_studies_whose_children_all_failed_are_compared_with_nothing_to_say(run, tmp_path):
    recorded(tmp_path / "a", [None, None], seed=0)
    recorded(tmp_path / "b", [None], seed=1)
    assert run(f"from={tmp_path}")[0] == 0
    page = (tmp_path / "report" / "report.html").read_text()
    assert "No child has a reward" in page


def test_a_study_that_runs_is_shown_as_far_as_it_is(run, tmp_path):
    study = Recording(tmp_path / "study")
    study.child(0.5)
    study.propose(7)
    with (study.folder / "ledger.jsonl").open("a") as file:
        file.write('{"event": "outcome", "ti')  # being written
    code, _, err = run(f"from={study.folder}")
    assert (code, err) == (0, "")


def test_a_running_study_without_an_outcome_has_a_page(run, tmp_path):
    study = Recording(tmp_path / "study")
    study.propose(7)
    assert run(f"from={study.folder}")[0] == 0


@pytest.mark.slow
def test_copies_of_a_study_among_artifacts_are_not_studies(run, tmp_path):
    study = recorded(tmp_path / "study", [0.5, 0.6])
    copy = tmp_path / "mlartifacts" / "1" / "artifacts"
    copy.mkdir(parents=True)
    lines = (study / "ledger.jsonl").read_text().splitlines(keepends=True)
    (copy / "ledger.jsonl").write_text("".join(lines[:-1]))
    (copy / "config.yaml").write_text((study / "config.yaml").read_text())
    (study / "summary.json").write_text("{}")
    code, out, _ = run(f"from={tmp_path}")
    assert (code, out) == (0, f"{study}/report/report.html\n")


# A study with the baseline that ran beside it


def beside(folder: Path, searcher=EVOLUTION, length: int = 20) -> Path:
    """A study that found more than the random search in its folder."""
    rewards = [0.3 + 0.01 * child for child in range(length)]
    recorded(folder, [reward + 0.05 for reward in rewards], cost_s=2.0, searcher=searcher)
    recorded(folder / "baseline", rewards, cost_s=2.0, study="toy-baseline", seed=99)
    return folder


def test_a_study_with_a_baseline_has_a_page_of_its_own_with_the_differences(run, tmp_path):
    folder = beside(tmp_path / "study")
    code, out, err = run(f"from={folder}", "budgets=10,20")
    assert (code, err, out) == (0, "", f"{folder}/report/report.html\n")
    page = (folder / "report" / "report.html").read_text()
    assert "<h1>toy</h1>" in page
    assert "evolution on digits, seed 0" in page
    assert "Against random with 20 children: best reward +0.05, mean of the best 5" in page
    assert "in one run of each; what of it is chance shows over seeds" in page
    assert "95 % over children" not in page
    assert "The interval is over children" not in page
    assert "Best study" not in page
    assert (folder / "report" / "difference_of_top_children.png").stat().st_size > 5000
    with (folder / "report" / "top_children.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["evaluations"], row["best children"]) for row in rows] == [
        *[("10", "1"), ("10", "5"), ("20", "1"), ("20", "5"), ("20", "15")]
    ]
    assert [float(row["difference"]) for row in rows] == pytest.approx([0.05] * 5)
    assert float(rows[3]["random"]) == pytest.approx(0.47)


@pytest.mark.slow
def test_a_baseline_of_the_same_searcher_is_still_another_search(run, tmp_path):
    folder = beside(
        tmp_path / "study", {"_target_": "nasrunner.searchers.sampling.random.RandomSearch"}
    )
    assert run(f"from={folder}")[0] == 0
    page = (folder / "report" / "report.html").read_text()
    assert "<h2>Against random, beside it</h2>" in page


@pytest.mark.slow
def test_the_search_that_a_user_names_is_the_baseline_of_the_other(run, tmp_path):
    folder = beside(tmp_path / "study")
    assert run(f"from={folder}", "baseline=random")[0] == 0
    assert "<h2>Against random</h2>" in (folder / "report" / "report.html").read_text()
    assert run(f"from={folder}", "baseline=evolution")[0] == 0
    page = (folder / "report" / "report.html").read_text()
    assert "Comparison of evolution and random" in page
    assert "minus evolution" in page


@pytest.mark.slow
def test_a_baseline_without_any_reward_leaves_the_page_of_the_study(run, tmp_path):
    folder = recorded(tmp_path / "study", [0.5, 0.6], searcher=EVOLUTION)
    recorded(folder / "baseline", [None, None], seed=99)
    assert run(f"from={folder}")[0] == 0
    page = (folder / "report" / "report.html").read_text()
    assert "one of the two has no reward" in page


@pytest.mark.slow
def test_studies_with_baselines_are_compared_as_all_others(run, tmp_path):
    for seed in range(2):
        beside(tmp_path / str(seed))
    assert run(f"from={tmp_path}")[0] == 0
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Comparison of evolution and random" in page


# Refusals


def test_an_empty_study_is_refused_alone_and_left_out_of_several(run, tmp_path):
    empty = Recording(tmp_path / "empty")
    message = refused(run, f"from={empty.folder}")
    assert message == f"{empty.folder} is an empty study: it has proposed no child yet"
    recorded(tmp_path / "full", [0.5])
    code, _, err = run(f"from={tmp_path}")
    assert code == 0
    assert f"warning: left out: {empty.folder} is an empty study" in err


def test_a_ledger_that_is_empty_or_damaged_is_refused(run, tmp_path):
    folder = recorded(tmp_path / "study", [0.5, 0.6])
    ledger = folder / "ledger.jsonl"
    lines = ledger.read_text().splitlines(keepends=True)
    ledger.write_text("".join([*lines[:2], lines[2][:20] + "\n", *lines[3:]]))
    assert "is damaged in line 3 of 6" in refused(run, f"from={folder}")
    ledger.write_text("".join([lines[0], *lines[2:]]))  # an outcome without its proposal
    assert "is damaged in line 2 of 5: child 0 has an outcome, but was not" in refused(
        run, f"from={folder}"
    )
    ledger.write_text("".join(lines[1:]))
    assert "is damaged in line 1 of 5: it is no study's first" in refused(run, f"from={folder}")
    ledger.write_text("")
    assert "is empty: the study has not started" in refused(run, f"from={folder}")
    (folder / "children" / "0000").mkdir(parents=True)
    assert "is empty, but the folders of 1 children" in refused(run, f"from={folder}")


def test_studies_of_different_rewards_are_refused(run, tmp_path):
    recorded(tmp_path / "a", [0.5])
    recorded(tmp_path / "b", [0.5], task__reward__metric="val_loss")
    message = refused(run, f"from={tmp_path}")
    assert "their rewards differ: task.reward.metric is" in message
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["form=x"], "there is no key 'form', did you mean 'from'? Legal: baseline, budgets, "),
        (["outputs"], "arguments are key=value, got 'outputs': from=outputs?"),
        (["from="], "from needs a value"),
        (["from=a", "from=b"], "from is given twice: a and b"),
        (["to=x"], "from=<folders, runs:/<id> or mlflow> or watch=<folders> is needed"),
        (["from=a", "watch=b"], "from=<folders, runs:/<id> or mlflow> or watch=<folders> is need"),
        (["from=a", "budgets=10,x"], "budgets must be whole numbers >= 1, as in 10,25,50; got"),
        (["from=a", "budgets=0"], "budgets must be whole numbers >= 1"),
        (["from=a", "log=yes"], "log must be true or false, got 'yes'"),
        (["from=a", "group=seed"], "group=seed is no way to group, legal: name, settings"),
        (["watch=a", "every_s=0"], "every_s must be seconds > 0 and below a day, got '0'"),
        (["from=a", "filter=x"], "filter is for from=mlflow, got from=a"),
        (["watch=mlflow"], "watch needs folders"),
        (["from=mlflow,outputs"], "from: give folders, or runs:/<id>, or mlflow, not several"),
        (["from=/nowhere/at/all"], "/nowhere/at/all is no folder"),
        (["from=runs:/1", "tracking_uri=sqlite:////nowhere.db"], "tracking_uri: there is no file"),
    ],
)
def test_arguments_that_are_not_legal_are_refused(run, arguments, message):
    assert refused(run, *arguments).startswith(message)


def test_a_folder_without_studies_is_refused(run, tmp_path):
    assert refused(run, f"from={tmp_path}").startswith(f"{tmp_path} holds no study")


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o311])
def test_a_study_that_this_user_may_not_read_is_no_empty_folder(run, tmp_path, monkeypatch, mode):
    with tempfile.TemporaryDirectory() as name:  # which others may enter, as they may not tmp_path
        place = Path(name)
        place.chmod(0o755)
        study = recorded(place / "studies" / "mine", [0.5])
        study.chmod(mode)
        monkeypatch.chdir(place)
        root = os.geteuid()
        try:
            if root == 0:
                os.seteuid(65534)
            for asked in (study, place / "studies"):
                refusal = f"{study} cannot be read: Permission denied"
                assert refused(run, f"from={asked}") == refusal
            with pytest.raises(ConfigError, match=f"^{study} cannot be read: Permission denied$"):
                resumable(str(study), print)
        finally:
            os.seteuid(root)
            study.chmod(0o755)


def test_a_folder_that_cannot_be_written_is_told(run, tmp_path):
    folder = recorded(tmp_path / "study", [0.5])
    (tmp_path / "file").write_text("")
    error = f"to={tmp_path}/file is a file; it must be a folder, or nothing yet"
    assert refused(run, f"from={folder}", f"to={tmp_path}/file") == error
    assert refused(run, "from=/nowhere", f"to={tmp_path}/file") == error
    (tmp_path / "file").unlink()
    (folder / "report").write_text("")  # the page's usual folder
    assert refused(run, f"from={folder}") == f"{folder}/report: File exists"


def test_help_names_every_key(run):
    code, out, err = run("--help")
    assert (code, err, out) == (0, "", help_text())
    with pytest.raises(ConfigError) as raised:
        parse(["nothing=1"])
    keys = str(raised.value).rpartition("legal: ")[2].split(", ")
    assert len(keys) == 17
    for key in keys:
        assert f"{key}=" in out


def test_folders_are_a_list_unless_one_has_a_comma_in_its_name(tmp_path):
    odd = tmp_path / "a,b"
    odd.mkdir()
    assert parse([f"from={odd}"]).places == (str(odd),)
    assert parse(["from=[x, y,x]"]).places == ("x", "y")


def test_neither_help_nor_the_other_commands_import_matplotlib_or_mlflow():
    code = (
        "import sys; sys.argv = ['nasrunner-report', '--help']; "
        "import nasrunner.command, nasrunner.show_space, nasrunner.report.command as command; "
        "command.main(); "
        "assert not {'matplotlib', 'mlflow'} & set(sys.modules), 'imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


# MLflow


def artifacts(uri: str, run_id: str) -> set[str]:
    return {file.path for file in MlflowClient(uri).list_artifacts(run_id, "report")}


@pytest.mark.slow
def test_the_page_of_one_study_and_a_comparison_are_logged_when_asked(run, tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tracked = {"tracker": {**MLFLOW, "tracking_uri": uri}}
    first = track(uri, tmp_path / "a", seed=0, **tracked)
    second = track(uri, tmp_path / "b", seed=1, **tracked)
    code, out, err = run(f"from={tmp_path}/a")
    assert (code, err, out) == (0, "", f"{tmp_path}/a/report/report.html\n")
    assert artifacts(uri, first) == set()
    code, out, err = run(f"from={tmp_path}/a", "log=true")
    assert (code, err) == (0, "")
    assert f"logged to MLflow run {first}, in its artifacts under report" in out
    assert {"report/report.html", "report/budgets.csv"} <= artifacts(uri, first)
    assert artifacts(uri, second) == set()
    code, out, err = run(f"from={tmp_path}", "log=true")
    assert (code, err) == (0, "")
    assert "report/studies.csv" in artifacts(uri, first) & artifacts(uri, second)


@pytest.mark.slow
def test_the_page_of_a_study_with_a_baseline_is_logged_to_the_study(run, tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tracked = {"tracker": {**MLFLOW, "tracking_uri": uri}}
    mine = track(uri, tmp_path / "a", searcher=EVOLUTION, **tracked)
    theirs = track(uri, tmp_path / "a" / "baseline", **tracked)
    code, out, err = run(f"from={tmp_path}/a", "log=true")
    assert (code, err) == (0, "")
    assert f"logged to MLflow run {mine}, in its artifacts under report" in out
    assert "report/top_children.csv" in artifacts(uri, mine)
    assert artifacts(uri, theirs) == set()


@pytest.mark.slow
def test_studies_in_mlflow_are_compared_without_their_folders(run, tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    track(uri, tmp_path / "a", seed=0)
    run_id = track(uri, tmp_path / "b", searcher=EVOLUTION)
    to = tmp_path / "page"
    query = ("from=mlflow", "experiment=toy", f"tracking_uri={uri}", f"to={to}")
    assert run(*query)[:2] == (0, f"{to}/report.html\n")
    assert "Comparison of random and evolution" in (to / "report.html").read_text()
    code, out, _ = run(f"from=runs:/{run_id}", f"tracking_uri={uri}", f"to={to}", "log=false")
    assert (code, out) == (0, f"{to}/report.html\n")
    assert artifacts(uri, run_id) == set()


def test_a_tracker_that_is_away_is_a_warning(run, tmp_path):
    tracked = {**MLFLOW, "tracking_uri": f"sqlite:///{tmp_path}/x.db"}
    folder = recorded(tmp_path / "a", [0.5], tracker=tracked)
    (folder / "mlflow.json").write_text(json.dumps({"study": "a", "run_id": "1234"}))
    code, out, err = run(f"from={folder}", "log=true")
    assert (code, out) == (0, f"{folder}/report/report.html\n")
    assert err.startswith(
        "nasrunner-report: warning: the page is written, but not logged: tracking_uri: there is "
    )


def test_logging_what_was_never_tracked_is_told_when_asked_for(run, tmp_path):
    folder = recorded(tmp_path / "a", [0.5])
    code, _, err = run(f"from={folder}", "log=true")
    assert code == 0
    assert f"{folder} is in no tracker that takes a page" in err


@pytest.mark.parametrize("what", ["mlflow.json", "config.yaml"])
def test_a_strangers_folder_does_not_say_which_server_is_asked(run, tmp_path, monkeypatch, what):
    usual = f"sqlite:///{tmp_path}/mine.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", usual)
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    folder = recorded(tmp_path / "a", [0.5], tracker={**MLFLOW, "tracking_uri": usual})
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        theirs = f"http://127.0.0.1:{server.getsockname()[1]}"
        facts = {"study": "a", "run_id": "1234"}
        if what == "mlflow.json":
            facts["tracking_uri"] = theirs
        else:
            text = (folder / "config.yaml").read_text()
            (folder / "config.yaml").write_text(text.replace(usual, theirs))
        (folder / "mlflow.json").write_text(json.dumps(facts))
        for arguments in ([], ["log=true"]):
            code, _, err = run(f"from={folder}", *arguments)
            assert code == 0
            assert ("there is no file" in err) == bool(arguments)
        with pytest.raises(TimeoutError):
            server.accept()


# Watching


class Watched:
    """Studies that go on while they are watched, one step each time the watcher sleeps."""

    def __init__(self, places, steps):
        self.places, self.steps = places, list(steps)
        self.now_s = 0.0
        self.written: list[tuple[list[int], bool]] = []
        self.told: list[str] = []

    def sleep(self, seconds):
        self.now_s += seconds
        if self.steps:
            self.steps.pop(0)()
        assert self.now_s < 1000, "it does not end"

    def read(self):
        folders = sorted({p.parent for place in self.places for p in place.rglob("ledger.jsonl")})
        studies = [read_study(folder) for folder in folders]
        if not any(study.children for study in studies):
            raise EmptyStudyError("nothing yet")
        return studies

    def write(self, studies, is_last):
        self.written.append(([len(study.recorded) for study in studies], is_last))

    def watch(self):
        watch(
            self.places,
            self.read,
            self.write,
            self.told.append,
            5.0,
            sleep=self.sleep,
            clock=lambda: self.now_s,
        )


def test_a_study_is_watched_until_it_ends_and_written_only_when_it_has_changed(tmp_path):
    study = Recording(tmp_path / "study")
    steps = [
        lambda: study.child(0.5),
        lambda: None,
        lambda: None,
        lambda: study.child(0.6),
        study.end,
    ]
    watched = Watched([study.folder], steps)
    watched.watch()
    assert watched.told == ["waiting: nothing yet"]
    assert watched.written == [([1], False), ([2], False), ([2], True)]


def test_a_study_with_a_baseline_is_watched_until_both_have_ended(tmp_path):
    study = Recording(tmp_path / "study", searcher=EVOLUTION)
    study.child(0.5)
    beside = Recording(study.folder / "baseline")
    beside.child(0.4)
    watched = Watched([study.folder], [beside.end, study.end])
    watched.watch()
    assert [is_last for _, is_last in watched.written] == [False, False, True]
    assert watched.now_s == 2 * 5


def test_a_sweep_is_watched_until_no_other_study_has_begun_for_a_minute(tmp_path):
    first = recorded(tmp_path / "0", [0.5])
    steps = [lambda: None] * 8 + [lambda: recorded(tmp_path / "1", [0.6])]
    watched = Watched([first.parent], steps)
    watched.watch()
    assert watched.written == [([1], False), ([1, 1], False), ([1, 1], True)]
    assert watched.now_s == 9 * 5 + 60


def test_what_is_watched_may_begin_later(tmp_path):
    watched = Watched([tmp_path], [lambda: None, lambda: recorded(tmp_path / "0", [0.5])])
    watched.watch()
    assert watched.told == ["waiting: no study has begun yet"] * 2
    assert watched.written == [([1], False), ([1], True)]


@pytest.mark.slow
def test_a_baseline_may_begin_while_it_is_watched(run, tmp_path, monkeypatch):
    recorded(tmp_path / "0", [0.5], searcher=EVOLUTION)
    now_s = [0.0]

    def begin(seconds):
        now_s[0] += 100.0
        if now_s[0] == 100.0:
            recorded(tmp_path / "1", [0.6])

    faked = {"sleep": begin, "clock": lambda: now_s[0]}
    monkeypatch.setattr(watch, "__kwdefaults__", faked)
    code, _, err = run(f"watch={tmp_path}", "baseline=random")
    assert (code, err) == (0, "")
    assert "minus random" in (tmp_path / "report" / "report.html").read_text()


def test_a_watched_page_reloads_itself_until_the_study_has_ended(run, tmp_path, monkeypatch):
    study = Recording(tmp_path / "study")
    study.child(0.5)
    pages = []

    def end(*arguments, **more):
        pages.append((study.folder / "report" / "report.html").read_text())
        study.record(Outcome(study.propose(9), "completed", 0.9))
        study.end()

    monkeypatch.setattr(watch, "__kwdefaults__", {**watch.__kwdefaults__, "sleep": end})
    code, out, _ = run(f"watch={study.folder}", "every_s=3")
    assert code == 0
    assert "written again until the studies have ended" in out
    (first,) = pages
    assert '<meta http-equiv="refresh" content="3">' in first
    assert "http-equiv" not in (study.folder / "report" / "report.html").read_text()
