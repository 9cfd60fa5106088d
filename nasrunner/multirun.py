"""Hydra's launchers of a multirun's studies, here or on SLURM: what conf/hydra/launcher names."""

import logging
import sys
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.conf import HydraConf
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, filter_overrides
from hydra.plugins.launcher import Launcher

from nasrunner.compose.trackers import check_jobs
from nasrunner.core.errors import ConfigError, MachineError, NasRunnerError
from nasrunner.core.screen.commands import resume_command

if TYPE_CHECKING:
    from submitit import Job

    from nasrunner.executors.slurm.watch import JobState

try:
    from hydra_plugins.hydra_submitit_launcher import submitit_launcher as _engine

    _Engine: type[Any] = _engine.SlurmLauncher
except ImportError:  # the extra is not installed: a launcher that says so

    class _Missing(Launcher):
        def __init__(self, **settings: object) -> None:
            raise ConfigError(
                "hydra/launcher=submitit_slurm needs submitit: pip install 'nasrunner[slurm]'"
            )

        def setup(self, **_: object) -> None: ...
        def launch(self, *_: object) -> Sequence[JobReturn]: ...  # type: ignore[empty-body]

    _Engine = _Missing

_NAME = "hydra_plugins.nasrunner.StudiesOnSlurm"
_HERE = "hydra_plugins.nasrunner.StudiesHere"
_log = logging.getLogger(__name__)

_POLL_S = 2.0
_ASK_S = 10.0
"""So often SLURM is asked for jobs that have left no result."""
_RESULT_WITHIN_S = 15.0
"""How long a network file system may take to show the result of a job that has ended."""


def register() -> None:
    """Makes the launchers known to Hydra, under names of the only namespace it takes some from."""
    known = Plugins.instance().class_name_to_class
    known[_NAME], known[_HERE] = StudiesOnSlurm, StudiesHere


def is_job(runtime: HydraConf) -> bool:
    """Tells whether a study runs in a SLURM job of ``StudiesOnSlurm``, which may be queued
    again.
    """
    return str(runtime.launcher["_target_"]) == _NAME


class StudiesHere(BasicLauncher):
    """One study after the other in this process; tells in the end of those that failed.

    Hydra's own launcher does the work, and would raise for the first failure and forget the others.
    """

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Runs the studies.

        Raises:
            NasRunnerError: studies have failed; all others are complete.
            MachineError: at least one of them did for a fault of the machine.
        """
        results: Sequence[JobReturn] = super().launch(job_overrides, initial_job_idx)
        assert self.config is not None, "Hydra sets it up first"
        numbers = range(initial_job_idx, initial_job_idx + len(results))
        _check_completed(
            dict(zip(numbers, results, strict=True)), Path(str(self.config.hydra.sweep.dir))
        )
        return results


class StudiesOnSlurm(_Engine):  # type: ignore[misc]
    """One SLURM job for each study, as an array; waits for all, then tells of those that failed.

    The submitit launcher of Hydra does the work. It would raise for the first failure and forget
    the others, and wait for ever for a job that was cancelled where SLURM has no accounting.
    A job that is preempted or reaches its time limit is requeued by submitit, and its study goes
    on from the ledger in its folder.

    Args:
        settings: those of ``hydra_plugins.hydra_submitit_launcher.config.SlurmQueueConf``.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)

    def __call__(self, *arguments: Any) -> JobReturn:
        """Runs one study, in its job."""
        from submitit.core.utils import UncompletedJobError

        warnings.filterwarnings("ignore", r"\s*'hydra/launcher/submitit_slurm' is validated")
        self._was_told_to_stop = False
        result: JobReturn = super().__call__(*arguments)
        if self._was_told_to_stop and not isinstance(result._return_value, UncompletedJobError):
            sys.exit(1)  # it is in SLURM's queue again; what failed while it stopped is no result
        return result

    def checkpoint(self, *arguments: Any) -> Any:
        """Returns what submitit runs when it puts the job into the queue again: the same once
        more.
        """
        self._was_told_to_stop = True
        return super().checkpoint(*arguments)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Runs the studies and returns when each has ended, or will not.

        Raises:
            ConfigError: there is no SLURM here, it refuses the job, or its jobs could not track.
            NasRunnerError: studies have failed; all others are complete.
        """
        check_jobs(self.config)  # known now, and not when the jobs have waited for hours
        folder = Path(str(self.config.hydra.sweep.dir))
        folder.mkdir(parents=True, exist_ok=True)
        numbers = range(initial_job_idx, initial_job_idx + len(job_overrides))
        jobs = dict(zip(numbers, self._submit(job_overrides, numbers), strict=True))
        array = next(iter(jobs.values())).job_id.split("_")[0]
        _log.info("SLURM job %s: %d studies below %s", array, len(jobs), folder)
        for number, overrides in zip(numbers, job_overrides, strict=True):
            _log.info("\t#%d : %s", number, " ".join(filter_overrides(overrides)))
        try:
            results = _wait(jobs)
        except KeyboardInterrupt:
            sys.stderr.write(f"\nthe studies run on: scancel {array} stops them\n")
            raise
        _check_completed(results, folder)
        return list(results.values())

    def _submit(
        self, job_overrides: Sequence[Sequence[str]], numbers: Sequence[int]
    ) -> "Sequence[Job[JobReturn]]":
        import submitit  # a second, which other commands need not spend
        from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf

        from nasrunner.executors.slurm.watch import outside_allocation

        settings = dict(self.params)
        folder = settings.pop("submitit_folder")
        max_num_timeout = settings.pop("max_num_timeout")
        common = set(BaseQueueConf.__dataclass_fields__)
        named = {k if k in common else f"slurm_{k}": v for k, v in settings.items()}
        state = Singleton.get_state()
        try:
            executor = submitit.AutoExecutor(
                folder, cluster="slurm", slurm_max_num_timeout=max_num_timeout
            )
            executor.update_parameters(**named)
            with outside_allocation():
                return executor.map_array(
                    self,
                    [list(overrides) for overrides in job_overrides],
                    ["hydra.sweep.dir"] * len(numbers),
                    list(numbers),
                    [f"job_id_for_{number}" for number in numbers],
                    [state] * len(numbers),
                )
        except submitit.core.utils.FailedJobError as error:
            raise ConfigError(f"hydra.launcher: SLURM refuses the job: {error}") from error
        except RuntimeError as error:  # no srun
            raise ConfigError(
                "hydra/launcher=submitit_slurm needs SLURM's sbatch and srun on this machine, "
                "which are not on its PATH; without hydra/launcher the studies of a multirun run "
                "one after the other"
            ) from error


def _wait(jobs: "Mapping[int, Job[JobReturn]]") -> dict[int, JobReturn]:
    """The result of each study, by its number; waits for those that are waiting or running."""
    results: dict[int, JobReturn] = {}
    ended_s: dict[int, float] = {}  # when a job without a result was first seen to have ended
    asked_s = time.monotonic()
    while len(results) < len(jobs):
        time.sleep(_POLL_S)
        states: Mapping[str, JobState] = {}
        if time.monotonic() - asked_s >= _ASK_S:
            asked_s, states = time.monotonic(), _states(jobs[n].job_id for n in jobs)
        for number, job in jobs.items():
            if number in results:
                continue
            state = states.get(job.job_id)
            if job.paths.result_pickle.exists():
                results[number] = _result(job)
            elif state is None:
                continue
            elif state.is_held:
                _release(number, job.job_id)
                continue
            elif not state.is_ended:  # it was, and SLURM has put it into its queue again
                ended_s.pop(number, None)
                continue
            elif asked_s - ended_s.setdefault(number, asked_s) < _RESULT_WITHIN_S:
                continue
            else:
                results[number] = _failure(f"job {job.job_id} {state.text()}: {job.paths.stderr}")
            _log.info("\t#%d %s", number, _became(results[number]))
    return dict(sorted(results.items()))


def _states(ids: Iterable[str]) -> "Mapping[str, JobState]":
    """What SLURM says of jobs; nothing where it does not answer."""
    from nasrunner.executors.slurm.watch import SlurmSilentError, states_of

    try:
        return states_of(ids)
    except SlurmSilentError:
        return {}


def _release(number: int, job_id: str) -> None:
    """Lets SLURM start a job elsewhere that it holds, because a node could not launch it."""
    from nasrunner.executors.slurm.watch import SlurmSilentError, ask_slurm

    _log.warning(
        "\t#%d starts again: a node could not launch job %s (sinfo --list-reasons)", number, job_id
    )
    with suppress(SlurmSilentError):  # it is tried again
        ask_slurm(["scontrol", "release", job_id])


def _result(job: "Job[JobReturn]") -> JobReturn:
    outcome, result = job._get_outcome_and_result()
    if outcome == "error":  # a traceback: outside the study, or of what cannot be pickled
        return _failure(f"{result.strip().splitlines()[-1]} ({job.paths.stderr})")
    assert isinstance(result, JobReturn)
    return result


def _failure(reason: str) -> JobReturn:
    return JobReturn(status=JobStatus.FAILED, _return_value=NasRunnerError(reason))


def _became(result: JobReturn) -> str:
    if result.status != JobStatus.COMPLETED:
        return f"failed: {result._return_value}"
    return f"ended, best reward {result.return_value}"


def _check_completed(results: Mapping[int, JobReturn], folder: Path) -> None:
    """Tells of the studies that failed, by their numbers, and how each goes on.

    Raises:
        NasRunnerError: some have; a MachineError where one was stopped by a fault of the machine.
    """
    failed = {n: each for n, each in results.items() if each.status != JobStatus.COMPLETED}
    if not failed:
        return
    is_fault = any(isinstance(each._return_value, MachineError) for each in failed.values())
    others = "" if len(failed) == len(results) else ", the others are complete"
    text = (
        f"{len(failed)} of {len(results)} studies failed: "
        f"{', '.join(f'#{number}' for number in failed)}; their reasons stand above{others}"
    )
    if not is_fault:
        raise NasRunnerError(f"{text}. {_how_to_go_on(list(failed), folder)}")
    fault = MachineError(text)
    fault.add_note(f"go on with all studies: {resume_command(folder)}")
    raise fault


def _how_to_go_on(failed: Sequence[int], folder: Path) -> str:
    has_ledger = [n for n in failed if (folder / str(n) / "ledger.jsonl").is_file()]
    parts = []
    if has_ledger:
        resume = " and ".join(resume_command(folder / str(n)) for n in has_ledger[:3])
        more = " and so on" if len(has_ledger) > 3 else ""
        parts.append(f"Each goes on alone: {resume}{more}.")
    if never := [f"#{n}" for n in failed if n not in has_ledger]:
        parts.append(f"Without a child, to be started anew: {', '.join(never)}")
    return " ".join(parts)
