"""Submits children's jobs as one array, over submitit, and explains why SLURM refuses them."""

import io
import re
import secrets
import shutil
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path

from nasrunner.core import ConfigError, NasRunnerError
from nasrunner.core.errors import suggest
from nasrunner.executors.fork_server import terminal_blocked
from nasrunner.executors.slurm.child import SlurmChildren
from nasrunner.executors.slurm.request import JobRequest
from nasrunner.executors.slurm.watch import SlurmSilentError, ask_slurm, outside_allocation

_TRANSIENT = re.compile(
    r"Unable to contact slurm controller|Socket timed out|Connection refused|timed out"
    r"|try(ing)? again later|temporarily|Zero Bytes|Unexpected message",
    re.IGNORECASE,
)
_TOO_MANY = re.compile(r"job submit limit|Max.*Submit|Job violates accounting/QOS", re.IGNORECASE)


class NotNowError(Exception):
    """SLURM takes no job at the moment; the message says why.

    Attributes:
        is_limit: it has as many jobs of this user as it takes.
    """

    def __init__(self, reason: str, is_limit: bool) -> None:
        super().__init__(reason)
        self.is_limit = is_limit


def check_installed() -> None:
    """Raises ConfigError where SLURM's programs or submitit are not there."""
    if missing := [name for name in ("sbatch", "srun", "squeue") if shutil.which(name) is None]:
        raise ConfigError(
            f"executor=slurm needs SLURM's programs, and {missing[0]} is not on PATH; legal here "
            "is executor=local, which trains children on this machine"
        )
    try:
        import submitit  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "executor=slurm needs submitit, which is not installed: pip install 'nasrunner[slurm]'"
        ) from error


def new_name(index: int) -> str:
    """Returns the name of a job, or of an array whose first child has this index."""
    return f"nasrunner-{max(index, 0):04d}-{secrets.token_hex(3)}"


def submit(
    jobs: Sequence[SlurmChildren], request: JobRequest, name: str, folder: Path
) -> list[str]:
    """Submits children's jobs and returns the jobs' ids, in the same order.

    Args:
        jobs: what each of them runs; several become an array.
        request: what a job asks for.
        name: of the jobs.
        folder: for submitit's files; made if it is missing.

    Raises:
        ConfigError: SLURM refuses such jobs; names the key.
        NotNowError: SLURM takes no job at the moment.
    """
    import submitit
    from submitit.core.utils import FailedJobError

    executor = submitit.SlurmExecutor(folder=folder)
    executor.update_parameters(**request.parameters(name))
    try:
        # submitit prints what sbatch says, which stands in our error.
        with outside_allocation(), terminal_blocked(), redirect_stderr(io.StringIO()):
            submitted = executor.submit_array(jobs)
    except FailedJobError as error:
        shutil.rmtree(folder, ignore_errors=True)
        refusal = " ".join(str(error).replace("sbatch: error: ", "").split())
        is_limit = bool(_TOO_MANY.search(refusal))
        if is_limit or _TRANSIENT.search(refusal):
            raise NotNowError(refusal, is_limit) from error
        raise explained(refusal, request) from error
    return [job.job_id for job in submitted]


def check_possible(request: JobRequest, folder: Path) -> None:
    """Finds out whether SLURM could ever start a job that it has accepted.

    Args:
        request: what the job asks for.
        folder: of submitit's files, with the sbatch text.

    Raises:
        ConfigError: no nodes are enough.
    """
    for path in folder.glob("*_submission.sh"):
        try:
            ask_slurm(["sbatch", "--test-only", str(path)])
        except SlurmSilentError as error:
            if "node configuration is not available" in str(error):
                raise explained(str(error), request) from error


def explained(refusal: str, request: JobRequest) -> NasRunnerError:
    """Returns the error for what sbatch said, with the key that has to change."""
    said = f"SLURM says: {refusal}"
    lowered = refusal.lower()
    if "partition" in lowered and "account" not in lowered and request.partition is not None:
        legal = suggest(str(request.partition), _asked(["sinfo", "--noheader", "--format=%R"]))
        return ConfigError(f"executor.partition={request.partition} is not legal, {legal}. {said}")
    if "account" in lowered:
        return ConfigError(
            f"executor.account={request.account} is not legal for this user "
            f"{_in_partition(request)}. {said}"
        )
    if "qos" in lowered:
        return ConfigError(
            f"executor.qos={request.qos} is not legal {_in_partition(request)}. {said}"
        )
    if "time limit" in lowered:
        return ConfigError(
            f"executor.timeout_min={request.timeout_min} is more than SLURM allows "
            f"{_in_partition(request)}. {said}"
        )
    if "node" in lowered or "gres" in lowered or "memory" in lowered or "cpu" in lowered:
        return ConfigError(
            f"executor asks for {request.text()}, which no node has "
            f"{_in_partition(request)}. {said}"
        )
    return ConfigError(f"executor: a child's job is refused. {said}")


def _in_partition(request: JobRequest) -> str:
    partition = request.partition or "the default one"
    nodes = sorted(
        set(_asked(["sinfo", "--noheader", "--format=%c CPUs, %m MB, gres %G, up to %l"]))
    )
    return f"in partition {partition} (nodes there are: {'; '.join(nodes) or 'not known'})"


def _asked(command: list[str]) -> list[str]:
    try:
        return ask_slurm(command).split("\n")[:-1]
    except SlurmSilentError:
        return []
