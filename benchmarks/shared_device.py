"""Children beside each other, and one on several devices, against bare Lightning: ``>= 0.95``.

Run it as ``python benchmarks/shared_device.py``, on a GPU with ``--device cuda``. nasrunner trains
NAS-Bench-201 children with its local workers, and ``lightning_script.py`` the same ones at the same
time. The case ``shared``: two children at a time on one GPU, or on a CPU with one thread each;
``ddp``: one child with two ranks, of nccl on two GPUs and of gloo on a CPU. What counts is the sum
of the images that the children take a second, from the end of their first epoch to that of the last
one. The two take turns; the median of the turns' ratios counts.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
SPACE = "nasbench201"
LIMIT = 0.95
SIZES = {  # batches an epoch, examples a batch, examples to validate with, epochs
    "cpu": (4, 16, 16, 3),
    "cuda": (200, 128, 512, 5),
}
CASES = {  # children, and the overrides of each device
    "shared": (2, {"cpu": ["executor.workers=2"], "cuda": ["executor.workers_per_gpu=2"]}),
    "ddp": (1, {"cpu": ["executor.workers=1"], "cuda": ["executor.gpus_per_worker=2"]}),
}


def main() -> None:
    """Prints both rates and their ratio; exits with 1 where it is below the goal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=SIZES, default="cpu")
    parser.add_argument("--case", choices=CASES, default="shared")
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    paths = (HERE, HERE.parent, os.environ.get("PYTHONPATH"))
    environment["PYTHONPATH"] = os.pathsep.join(str(path) for path in paths if path)
    if arguments.device == "cuda" and arguments.case == "shared":
        environment["CUDA_VISIBLE_DEVICES"] = visible_gpu()
    rates = []
    for turn in range(arguments.turns):
        with tempfile.TemporaryDirectory() as folder:
            children = searched(arguments, Path(folder), environment)
            ours = sum(rate(child_times(child), arguments.device) for child in children)
            scripted(children, environment)
            theirs = sum(rate(script_times(child), arguments.device) for child in children)
        rates.append((ours, theirs))
        print(f"turn {turn}: nasrunner {ours:.0f}, script {theirs:.0f} images/s", flush=True)
    ratio = statistics.median(ours / theirs for ours, theirs in rates)
    print(f"{arguments.case} {arguments.device}: ratio {ratio:.3f}, goal {LIMIT}")
    sys.exit(0 if ratio >= LIMIT else 1)


def visible_gpu() -> str:
    """The first GPU that this process may use."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]


def searched(
    arguments: argparse.Namespace, folder: Path, environment: dict[str, str]
) -> list[Path]:
    """The folders of children that nasrunner has just trained."""
    device = arguments.device
    batches, batch_size, validation, epochs = SIZES[device]
    num_children, executor = CASES[arguments.case]
    overrides = [
        *(f"space={SPACE}", "searcher=random", "tracker=none", "data=cifar10", "optimizer=sgd"),
        *("data._target_=images.Images", f"+data.examples={batches * batch_size + validation}"),
        *(f"data.batch_size={batch_size}", f"data.validation_examples={validation}"),
        *("optimizer.nesterov=true", f"trainer.max_epochs={epochs}"),
        f"trainer.accelerator={'gpu' if device == 'cuda' else 'cpu'}",
        f"trainer.precision={'bf16-mixed' if device == 'cuda' else '32-true'}",
        *(["trainer.devices=2"] if arguments.case == "ddp" else []),
        *("executor=local", *executor[device]),
        *(f"max_children={num_children}", f"hydra.run.dir={folder}/study"),
    ]
    command = [sys.executable, "-m", "nasrunner", *overrides]
    completed([subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)])
    children = sorted((folder / "study" / "children").iterdir())
    for child in children:
        outcome = json.loads((child / "outcome.json").read_text())
        assert outcome["status"] == "completed", outcome["error"]
    assert len(children) == num_children
    return children


def scripted(children: Sequence[Path], environment: dict[str, str]) -> None:
    """Trains the same children with Lightning, all at the same time."""
    script = [sys.executable, str(HERE / "lightning_script.py")]
    completed(
        [
            subprocess.Popen(
                [*script, str(child), SPACE], env=environment, stdout=subprocess.PIPE, text=True
            )
            for child in children
        ]
    )


def completed(processes: Sequence["subprocess.Popen[str]"]) -> None:
    """Waits for processes; ends with the output of one that failed."""
    for process in processes:
        output, _ = process.communicate()
        if process.returncode:
            sys.exit(f"{process.args!r}\nended with {process.returncode}:\n{output}")


def child_times(child: Path) -> list[float]:
    """When each epoch of a child ended."""
    lines = (child / "curves.jsonl").read_text().splitlines()
    return [json.loads(line)["time"] for line in lines]


def script_times(child: Path) -> list[float]:
    """When each epoch of the script ended."""
    return [float(line) for line in (child / "script.txt").read_text().splitlines()]


def rate(times: Sequence[float], device: str) -> float:
    """Images a second after the first epoch."""
    batches, batch_size, _, epochs = SIZES[device]
    assert len(times) == epochs
    return (epochs - 1) * batches * batch_size / (times[-1] - times[0])


if __name__ == "__main__":
    main()
