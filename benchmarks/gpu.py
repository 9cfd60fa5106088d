"""All that is measured and tested on GPUs, within five minutes: ``python benchmarks/gpu.py``.

Each check is a command of its own, which is shown with what it printed. What needs more GPUs than
there are is skipped and says so. With ``--device cpu`` the same commands run on the CPU, but for
the tests, which need CUDA: to see that they work, not to measure.
"""

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

HERE = Path(__file__).parent
BUDGET_S = 300.0


@dataclass(frozen=True)
class Check:
    """A command, without Python's own name; how many GPUs it needs, and the arguments on a CPU."""

    name: str
    command: tuple[str, ...]
    num_gpus: int = 1
    on_cpu: tuple[str, ...] | None = ()


CHECKS = (
    Check("recurrent cell to cuDNN's LSTM", ("recurrent_cell.py",), 1, ("--repetitions", "1")),
    Check("children to a bare loop", ("child_throughput.py",), 1, ("--turns", "1")),
    Check("tests", ("-m", "pytest", "-q", "-m", "gpu", "-n", "1", "tests"), 1, None),
    Check("two children on a GPU", ("shared_device.py",), 1, ("--turns", "1")),
    Check("DDP on two GPUs", ("shared_device.py", "--case", "ddp"), 2, ("--turns", "1")),
)


def main() -> None:
    """Runs every check; exits with 1 where one failed, missed its goal, or none could be run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    device = parser.parse_args().device
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cuda" and num_gpus == 0:
        built = torch.version.cuda or "none, this build is for the CPU"
        sys.exit(f"skipped: torch {torch.__version__} finds no CUDA device (its CUDA: {built})")
    if device == "cuda":
        print(f"{num_gpus} x {torch.cuda.get_device_name(0)}, torch {torch.__version__}")
    end = time.monotonic() + (BUDGET_S if device == "cuda" else float("inf"))
    results = {check.name: result_of(check, device, num_gpus, end) for check in CHECKS}
    print("\n" + "\n".join(f"{name:32} {result}" for name, result in results.items()))
    sys.exit(any(result.startswith("failed") for result in results.values()))


def result_of(check: Check, device: str, num_gpus: int, end: float) -> str:
    """Runs a check and shows what it prints; says in words how it ended."""
    if device == "cuda" and num_gpus < check.num_gpus:
        return f"skipped: needs {check.num_gpus} GPUs, there is {num_gpus}"
    sizes = check.on_cpu if device == "cpu" else ()
    if sizes is None:
        return "skipped: needs CUDA"
    script, *arguments = check.command
    is_script = script.endswith(".py")
    if is_script:
        script = str(HERE / script)
        arguments += ["--device", device, *sizes]
    print(f"\n== {check.name}: {' '.join(check.command)}", flush=True)
    start = time.monotonic()
    if start >= end:
        return f"failed: the {BUDGET_S:.0f} s were spent before it"
    try:
        limit_s = end - start if end != float("inf") else None
        code = subprocess.run(
            [sys.executable, script, *arguments], cwd=HERE.parent, timeout=limit_s, check=False
        ).returncode
    except subprocess.TimeoutExpired:
        return f"failed: the {BUDGET_S:.0f} s were spent"
    seconds = time.monotonic() - start
    return f"{'passed' if code == 0 else f'failed: code {code}'} in {seconds:.0f} s"


if __name__ == "__main__":
    main()
