"""What executor=local costs: start-up, each child, and the pause between two children.

``python benchmarks/executor_latency.py [--children 200]``. Children that do next to nothing run
through the executor as a study runs them (wait, then submit), and through concurrent.futures in
the same run.

* first result: from construction, with and without the modules of conf/executor/local.yaml
  imported beforehand; the first child imports what a real one would.
* one by one: a child that does nothing, submitted when the one before has come back.
* pause: from the end of a child to the start of the next one in the same worker, 2 workers.
"""

import argparse
import contextlib
import importlib
import itertools
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from pathlib import Path

import yaml  # type: ignore[import-untyped]  # its stubs are a package of their own

from nasrunner.compose.construct import construct
from nasrunner.core import Executor, OneByOne, Outcome, Proposal

NUM_WORKERS = 2
CHILD_S = 0.02
TARGET_MS = 20.0
FOLDER = Path("unused")
CONFIG = Path(__file__).parents[1] / "conf" / "executor" / "local.yaml"

Submit = Callable[[OneByOne, Sequence[Proposal], Sequence[Path]], None]
Wait = Callable[[], list[Outcome]]


def nothing(proposal: Proposal) -> Outcome:
    """A child that costs nothing."""
    return Outcome(proposal, "completed", 0.0)


def timed(proposal: Proposal) -> Outcome:
    """Sleeps a little, and says in which process and when: the clock is the machine's."""
    start = time.monotonic()
    time.sleep(CHILD_S * (0.5 + proposal.index % 7 / 7))
    metrics = {"pid": os.getpid(), "start": start, "end": time.monotonic()}
    return Outcome(proposal, "completed", 0.0, metrics)


def imports_lightning(proposal: Proposal) -> Outcome:
    """A child that needs what a real one needs, and does nothing with it."""
    importlib.import_module("pytorch_lightning")
    importlib.import_module("torchmetrics")
    return Outcome(proposal, "completed", 0.0)


NOTHING, TIMED, IMPORTS = OneByOne(nothing), OneByOne(timed), OneByOne(imports_lightning)


@contextlib.contextmanager
def local(preload: Sequence[str]) -> Iterator[Executor]:
    """The executor as shipped, with two workers on the CPU."""
    config = yaml.safe_load(CONFIG.read_text())
    config |= {"workers": NUM_WORKERS, "gpus": [], "preload": list(preload)}
    with contextlib.closing(construct(config, "executor")) as executor:
        yield executor


def first_results_s(preload: Sequence[str]) -> float:
    """Seconds from construction until every worker has trained a child that uses Lightning."""
    start_s = time.perf_counter()
    with local(preload) as executor:
        for index in range(NUM_WORKERS):
            executor.submit(IMPORTS, [Proposal(index, {})], [FOLDER])
        num_ended = 0
        while num_ended < NUM_WORKERS:
            num_ended += len(executor.wait())
        return time.perf_counter() - start_s


def pool_first_results_s() -> float:
    """The same with concurrent.futures and processes started by spawn."""
    start_s = time.perf_counter()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(NUM_WORKERS, mp_context=context) as pool:
        list(pool.map(imports_lightning, [Proposal(i, {}) for i in range(NUM_WORKERS)]))
        return time.perf_counter() - start_s


def one_by_one_ms(submit: Submit, wait_: Wait, children: int) -> float:
    """Mean milliseconds of a child that does nothing."""
    start_s = time.perf_counter()
    for index in range(children):
        submit(NOTHING, [Proposal(index, {"2/repeat/0/affine/units": index})], [FOLDER])
        wait_()
    return (time.perf_counter() - start_s) / children * 1e3


def pauses_ms(submit: Submit, wait_: Wait, children: int) -> list[float]:
    """Milliseconds in which a worker stood still between two children, sorted."""
    proposals = (Proposal(index, {"2/repeat/0/affine/units": index}) for index in range(children))
    for proposal in itertools.islice(proposals, NUM_WORKERS):
        submit(TIMED, [proposal], [FOLDER])
    outcomes: list[Outcome] = []
    while len(outcomes) < children:
        ended = wait_()
        outcomes += ended
        for proposal in itertools.islice(proposals, len(ended)):
            submit(TIMED, [proposal], [FOLDER])
    pauses: list[float] = []
    for pid in {outcome.metrics["pid"] for outcome in outcomes}:
        mine = sorted(
            (o.metrics["start"], o.metrics["end"]) for o in outcomes if o.metrics["pid"] == pid
        )
        pauses += [(after[0] - before[1]) * 1e3 for before, after in itertools.pairwise(mine)]
    return sorted(pauses)


class Pool:
    """concurrent.futures in the executor's words."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self.pool = pool
        self.futures: set[Future[Outcome]] = set()

    def submit(
        self, train: OneByOne, proposals: Sequence[Proposal], folders: Sequence[Path]
    ) -> None:
        self.futures.update(self.pool.submit(train.train, each) for each in proposals)

    def wait(self) -> list[Outcome]:
        done, self.futures = wait(self.futures, return_when=FIRST_COMPLETED)
        return [future.result() for future in done]


def measure(name: str, submit: Submit, wait_: Wait, children: int) -> tuple[float, float]:
    """Prints and returns milliseconds one by one, and the median pause."""
    one_by_one_ms(submit, wait_, 10)  # warm
    each_ms = one_by_one_ms(submit, wait_, children)
    pauses = pauses_ms(submit, wait_, children)
    median_ms, p95_ms = statistics.median(pauses), pauses[int(0.95 * len(pauses))]
    print(
        f"{name:28s} one by one {each_ms:6.2f} ms   pause {median_ms:6.2f} ms, 95 % {p95_ms:6.2f}"
    )
    return each_ms, median_ms


def main() -> None:
    """Measures and prints everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--children", type=int, default=200)
    children = parser.parse_args().children
    with local([]) as executor:
        ours = measure("executor=local", executor.submit, executor.wait, children)
    with ProcessPoolExecutor(NUM_WORKERS) as processes:
        pool = Pool(processes)
        theirs = measure("concurrent.futures", pool.submit, pool.wait, children)
    print(
        f"{'ratio':28s} one by one {ours[0] / theirs[0]:6.2f}      pause {ours[1] / theirs[1]:6.2f}"
    )
    verdict = "met" if ours[1] <= TARGET_MS else "MISSED"
    print(f"pause of at most {TARGET_MS:.0f} ms: {verdict}")

    preload = yaml.safe_load(CONFIG.read_text())["preload"]
    warm_s, cold_s, spawn_s = first_results_s(preload), first_results_s([]), pool_first_results_s()
    print(f"first results, {NUM_WORKERS} workers, children that need Lightning:")
    print(f"  preloaded {warm_s:5.2f} s, not preloaded {cold_s:5.2f} s, spawn {spawn_s:5.2f} s")
    print(f"  ratio of preloaded to spawn {warm_s / spawn_s:.2f}")


if __name__ == "__main__":
    main()
