"""How many random mutants of the code the default tests find.

    .venv/bin/pip install -c constraints.txt --group mutation
    .venv/bin/python benchmarks/mutation.py cover
    .venv/bin/python benchmarks/mutation.py run --sample 300 --seed 1
    .venv/bin/python benchmarks/mutation.py again outputs/mutation/mutants.jsonl --out again.jsonl

A mutant is the code with one change: a comparison, an operator, a number, a condition, a decorator,
a loop or an exception that is caught (cosmic-ray's operators). A sample is drawn uniformly from all
places of the rooms' files, and then one of the changes that are possible at each place. Left out
are annotations, bitwise for arithmetic operators and the reverse, and ``is`` for ``==``: nearly all
of these fail at import, or change nothing.

``cover`` runs the tests once and notes which test executes which line; with paths, it adds these
tests to what it knows. ``run`` tests each mutant in a copy of the checkout: first the test file of
the same name, then all other tests that execute the changed statement, quickest first. A mutant is
killed by a test that fails or takes too long; in the end every test that killed one must pass
without a mutant. ``again`` repeats those of a file written by ``run`` that survived, be it in lines
that have moved since.
"""

import argparse
import ast
import contextlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from queue import Queue
from typing import Any

ROOT = Path(__file__).parents[1]
OUT = ROOT / "outputs" / "mutation"
FOLDERS = ("core", "study", "searchers", "spaces", "children", "data")
ROOMS = {room: [f"nasrunner/{room}"] for room in FOLDERS}
TESTS = [
    "tests/spaces",
    "tests/searchers",
    "tests/children",
    "tests/data",
    "tests/report",
    "tests/study",
    "tests/compose",
    *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("tests/test_*.py")),
]
OF_ALL = "tests/core/test_values.py"
"""It looks at every module, so it is run for each mutant that the others let live."""

ARITHMETIC = {"Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow"}
QUICK_S = 3.0
"""Tests of other files are first run for so long, then the rest: collecting them takes seconds."""

SLACK_S = 60
"""Processor seconds that a run may take beyond three times what it took without the mutant."""

LIMIT_S = 3600
"""What a run may take at all: a test that waits for ever ends by its own time limit before that."""


@dataclass(frozen=True)
class Mutant:
    """One change of one file: the ``occurrence``-th place of a cosmic-ray operator."""

    room: str
    file: str
    operator: str
    occurrence: int
    line: int
    before: str
    after: str


# ------------------------------------------------------------------------------ which mutants


def draw(rooms: Sequence[str], sample: int, seed: int) -> list[Mutant]:
    """Draws places uniformly from the rooms' files, and a change for each."""
    places = [
        (room, file, changes)
        for room in rooms
        for file in files_of(room)
        for changes in changes_of((ROOT / file).read_text()).values()
    ]
    print(f"{len(places)} places in {len({file for _, file, _ in places})} files")
    rng = random.Random(seed)
    chosen = rng.sample(places, min(sample, len(places)))
    return [_mutant(room, file, *rng.choice(changes)) for room, file, changes in chosen]


def files_of(room: str) -> list[str]:
    """The Python files of a room, as paths below the root."""
    found = (ROOT / place for place in ROOMS[room])
    files = (f for p in found for f in ([p] if p.is_file() else p.rglob("*.py")))
    return sorted(str(file.relative_to(ROOT)) for file in files)


def changes_of(code: str) -> dict[tuple[str, int, int], list[tuple[str, int, int]]]:
    """(kind, line, column) -> [(operator, occurrence, line)]: all changes, by their place."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    names = [name for name in sorted(operator_names()) if _is_used(name)]
    operators = {name: get_operator(name)() for name in names}
    counts: Counter[str] = Counter()
    changes: dict[tuple[str, int, int], list[tuple[str, int, int]]] = defaultdict(list)
    for node in ast_nodes(get_ast(code)):
        for name, operator in operators.items():
            for start, _ in operator.mutation_positions(node):
                occurrence = counts[name]
                counts[name] += 1
                if not _is_annotation(node):
                    kind = name.split("_")[0]
                    changes[kind, *start].append((name, occurrence, start[0]))
    return changes


def _is_used(name: str) -> bool:
    kind, *pair = name.removeprefix("core/").split("_")
    if kind == "ReplaceBinaryOperator":
        return (pair[0] in ARITHMETIC) == (pair[1] in ARITHMETIC)
    if kind == "ReplaceComparisonOperator":
        return ("Is" in pair[0]) == ("Is" in pair[1])
    return not kind.startswith("Variable")


def _is_annotation(node: Any) -> bool:
    while node.parent is not None:
        parent = node.parent
        if parent.type == "annassign" and node is parent.children[1]:
            return True
        if parent.type in ("param", "funcdef") and node is parent.annotation:
            return True
        if parent.type == "tfpdef" and node is parent.children[-1]:
            return True
        node = parent
    return False


def _mutant(room: str, file: str, operator: str, occurrence: int, line: int) -> Mutant:
    code = (ROOT / file).read_text()
    before, after = code.splitlines(), _mutated(code, operator, occurrence).splitlines()
    pairs = zip(before, after, strict=False)
    number = next((n for n, (a, b) in enumerate(pairs, start=1) if a != b), line)
    changed = before[number - 1].strip(), after[number - 1].strip()
    return Mutant(room, file, operator, occurrence, line, *changed)


def _mutated(code: str, operator: str, occurrence: int) -> str:
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    mutated = mutate_code(code, get_operator(operator)(), occurrence)
    assert mutated is not None
    return str(mutated)


def moved(mutant: Mutant) -> Mutant | None:
    """The same change in the code as it is now; None where the changed line is no more."""
    changes = changes_of((ROOT / mutant.file).read_text()).values()
    same = [c for each in changes for c in each if c[0] == mutant.operator]
    now = [_mutant(mutant.room, mutant.file, *change) for change in same]
    equal = [m for m in now if (m.before, m.after) == (mutant.before, mutant.after)]
    return min(equal, key=lambda m: abs(m.line - mutant.line), default=None)


# ---------------------------------------------------------------------------- which tests


class Coverage:
    """Which tests execute a statement, quickest first, from what ``cover`` has noted."""

    def __init__(self) -> None:
        from coverage import CoverageData

        self.seconds: dict[str, float] = {}
        self.data = []
        for path in sorted(OUT.glob("seconds-*.json")):
            self.seconds |= json.loads(path.read_text())
        for path in sorted(OUT.glob("coverage-*")):
            self.data.append(CoverageData(str(path)))
            self.data[-1].read()

    def tests_of(self, mutant: Mutant) -> tuple[list[str], list[str]]:
        """The test files of the same name, and all other tests that execute the statement."""
        lines = _statement((ROOT / mutant.file).read_text(), mutant.line)
        contexts = self._contexts(mutant.file)
        found = {test for line in lines for test in contexts.get(line, ())}
        if not found or "" in found:  # executed at import: whoever uses the file
            found = {test for tests in contexts.values() for test in tests}
        ordered = sorted(found & self.seconds.keys(), key=lambda test: self.seconds[test])
        name = f"test_{Path(mutant.file).stem}.py"
        own = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob(name))
        return own, [test for test in ordered if test.split("::")[0] not in own]

    def _contexts(self, file: str) -> dict[int, set[str]]:
        found: dict[int, set[str]] = defaultdict(set)
        for data in self.data:
            for line, contexts in data.contexts_by_lineno(str(ROOT / file)).items():
                found[line] |= set(contexts)
        return found


def _statement(code: str, line: int) -> range:
    """The lines of the innermost statement; of a compound one, those before its body."""
    best = range(line, line + 1)
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0):
            body = getattr(node, "body", None)
            end = body[0].lineno if body else (node.end_lineno or node.lineno) + 1
            if line < end:
                best = range(node.lineno, end)
    return best


def cover(tests: Sequence[str], workers: int) -> None:
    """Runs tests, noting which of them executes which line, and how long each takes."""
    if not tests:
        shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True, exist_ok=True)
    places = [ROOT / test for test in tests or TESTS]
    files = [f for p in places for f in ([p] if p.is_file() else sorted(p.rglob("test_*.py")))]
    first = len(list(OUT.glob("coverage-*")))
    started = []
    for number in range(first, first + min(workers, len(files))):
        part = [str(file.relative_to(ROOT)) for file in files[number - first :: workers]]
        command = [sys.executable, "-m", "coverage", "run", "--source=nasrunner"]
        command += [f"--data-file={OUT / f'coverage-{number}'}", "-m", "pytest", "-q", "-n", "0"]
        command += ["-p", "no:cacheprovider", "-p", "benchmarks.mutation", *part]
        environment = {**os.environ, "MUTATION_SECONDS": str(OUT / f"seconds-{number}.json")}
        environment["PYTHONPATH"] = str(ROOT)
        started.append(subprocess.Popen(command, cwd=ROOT, env=environment))
    if any([process.wait() for process in started]):
        sys.exit("the tests do not pass without a mutant")


def pytest_runtest_protocol(item: Any) -> None:
    """With ``-p benchmarks.mutation``: makes the test the context of what is covered."""
    from coverage import Coverage as Running

    current = Running.current()
    assert current is not None
    current.switch_context(item.nodeid)


_seconds: Counter[str] = Counter()


def pytest_runtest_logreport(report: Any) -> None:
    """With ``-p benchmarks.mutation``: adds up a test's seconds."""
    if not report.skipped:
        _seconds[report.nodeid] += report.duration


def pytest_sessionfinish() -> None:
    """With ``-p benchmarks.mutation``: writes the tests' seconds."""
    Path(os.environ["MUTATION_SECONDS"]).write_text(json.dumps(_seconds))


# ------------------------------------------------------------------------------- the runs


def run(mutants: Iterable[Mutant], workers: int, limit_s: float, out: Path) -> None:
    """Tests the mutants, as many at once as there are workers, and writes a line for each."""
    coverage = Coverage()
    plans = [(mutant, *coverage.tests_of(mutant)) for mutant in mutants]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(workers) as pool:
        copies: Queue[Path] = Queue()
        for number in range(workers):
            copies.put(_copy(Path(folder) / str(number)))

        def one(plan: tuple[Mutant, list[str], list[str]]) -> dict[str, Any]:
            copy = copies.get()
            try:
                return _test(copy, *plan, coverage.seconds, limit_s)
            finally:
                copies.put(copy)

        results = []
        with out.open("w") as file:
            for result in pool.map(one, plans):
                results.append(result)
                file.write(json.dumps(result, ensure_ascii=False) + "\n")
                file.flush()
        killers = {w.split("[")[0] for r in results for w in (r["killed"] or "").split()}
        tests = sorted(word for word in killers if word.startswith("tests/"))
        if tests and (wrong := _kills(copies.get(), tests, 600.0)):
            sys.exit(f"a test that killed a mutant does not pass without one: {wrong}")
    print(report(results))


def _copy(place: Path) -> Path:
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    copy = place / "checkout"
    for name in subprocess.check_output(listed, cwd=ROOT, text=True).splitlines():
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    if (ROOT.parent / "shared").is_dir():  # the tests' data
        (place / "shared").symlink_to((ROOT.parent / "shared").resolve())
    return copy


def _test(
    copy: Path,
    mutant: Mutant,
    own: list[str],
    others: list[str],
    seconds: dict[str, float],
    limit_s: float,
) -> dict[str, Any]:
    started = time.monotonic()
    path = copy / mutant.file
    original = path.read_text()
    path.write_text(_mutated(original, mutant.operator, mutant.occurrence))
    os.utime(path, ns=(time.time_ns(), time.time_ns() + 10**9 * random.randrange(10**6)))  # .pyc
    killed, tests = None, 0
    quick = _within(others, seconds, QUICK_S)
    slow = [*_within(others, seconds, limit_s)[len(quick) :], OF_ALL]
    for stage, chosen in (("own", own), ("others", quick), ("others", slow)):
        tests += len(chosen)
        if chosen and (how := _kills(copy, chosen, sum(seconds.get(t, 20.0) for t in chosen))):
            killed = f"{stage}: {how}"
            break
    path.write_text(original)
    os.utime(path, ns=(time.time_ns(), time.time_ns() - 10**9 * random.randrange(10**6)))
    took = round(time.monotonic() - started, 1)
    print("killed  " if killed else "SURVIVED", f"{mutant.file}:{mutant.line}", mutant.after, took)
    return {**asdict(mutant), "killed": killed, "tests": tests, "seconds": took}


def _within(tests: list[str], seconds: dict[str, float], limit_s: float) -> list[str]:
    kept, total = [], 0.0
    for test in tests:
        total += seconds[test]
        if total > limit_s:
            break
        kept.append(test)
    return kept


def _kills(copy: Path, tests: list[str], usual_s: float) -> str | None:
    """Which test fails, or that they hang; None if all pass."""
    arguments = copy.parent / "tests.txt"
    arguments.write_text("\n".join(tests))
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider"]
    seconds = SLACK_S + round(3 * usual_s)
    process = subprocess.Popen(
        ["nice", "-n", "15", *command, f"@{arguments}"],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=partial(_prepare, seconds),
    )
    try:
        output, _ = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        output = "hangs"
    finally:
        _end(process)
    if process.returncode == 0:
        return None
    if process.returncode in (-signal.SIGKILL, -signal.SIGXCPU):
        return "takes too long"
    failed = [line for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return (failed or output.splitlines()[-1:] or ["ended"])[0][:200]


def _prepare(seconds: int) -> None:
    """Limits processor time, and lets tests be interrupted although a shell's jobs ignore that."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(process: "subprocess.Popen[str]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def report(results: Sequence[dict[str, Any]]) -> str:
    """The share of mutants killed, room by room, and those that survived."""
    lines = []
    rooms = sorted({result["room"] for result in results})
    for name in [*rooms, "all"]:
        mine = [r for r in results if name in (r["room"], "all")]
        killed = [r for r in mine if r["killed"]]
        wider = sum(r["killed"].startswith("others") for r in killed)
        share = 100 * len(killed) / max(len(mine), 1)
        lines.append(
            f"{name}: {len(killed)} of {len(mine)} killed ({share:.1f} %), {wider} of them by "
            f"tests of other files"
        )
    lines += [
        f"{r['file']}:{r['line']}: {r['before']}  ->  {r['after']}"
        for r in results
        if not r["killed"]
    ]
    return "\n".join(lines)


def _survivors(path: Path) -> Iterator[Mutant]:
    for line in path.read_text().splitlines():
        record = json.loads(line)
        if record["killed"] is None:
            names = Mutant.__dataclass_fields__
            mutant = moved(Mutant(**{name: record[name] for name in names}))
            if mutant is None:
                print(f"no more: {record['file']}:{record['line']}: {record['before']}")
            else:
                yield mutant


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=["cover", "run", "again"])
    parser.add_argument("paths", nargs="*", help="cover: tests; again: what run has written")
    parser.add_argument("--rooms", nargs="+", choices=ROOMS, default=[*FOLDERS[:-1], "study"])
    parser.add_argument("--sample", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit-s", type=float, default=60, help="of tests of other files")
    parser.add_argument("--out", type=Path, default=OUT / "mutants.jsonl")
    given = parser.parse_args()
    if given.step == "cover":
        cover(given.paths, given.workers)
    elif given.step == "run":
        mutants = draw(given.rooms, given.sample, given.seed)
        run(mutants, given.workers, given.limit_s, given.out)
    else:
        mutants = [mutant for path in given.paths for mutant in _survivors(Path(path))]
        run(mutants, given.workers, given.limit_s, given.out)


if __name__ == "__main__":
    main()
