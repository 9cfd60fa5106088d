"""What a child asks SLURM for: checked numbers, and submitit's names for them."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from nasrunner.core import ConfigError
from nasrunner.core.annotations import Above, AtLeast, Count, fits

_GPU_ACCELERATORS = ("gpu", "cuda")
_MOST_DELAY_S = 90
_OPTION = re.compile(r"[a-z][a-z0-9-]*")
_Name = str | int | None
_OWN_OPTIONS = ("array", "comment", "error", "job-name", "open-mode", "output", "requeue", "signal")


@dataclass(frozen=True)
class JobRequest:
    """The resources of one child's job; attributes are those of ``conf/executor/slurm.yaml``.

    Raises:
        ConfigError: a value is out of its range; names its key.
    """

    max_parallel: Count
    partition: _Name
    account: _Name
    qos: _Name
    timeout_min: Count
    nodes: Any  # of these two ``_check_of_trainer`` says more
    tasks_per_node: Any
    accelerator: str
    gpus_per_node: Annotated[int, AtLeast(0)] | None
    cpus_per_task: Count
    mem_gb: Annotated[float, Above(0)] | None
    gres: _Name
    constraint: _Name
    exclude: _Name
    setup: Sequence[str]
    sbatch: Mapping[str, Any]
    stderr_to_stdout: bool
    signal_delay_s: Count | None
    retries: Annotated[int, AtLeast(0)]

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "JobRequest":
        """Returns the request with these attributes, all of them.

        Raises:
            ConfigError: one is missing, or as of the class.
        """
        for field in dataclasses.fields(cls):
            if field.name not in given:
                raise ConfigError(
                    f"executor.{field.name} is missing; conf/executor/slurm.yaml has it"
                )
        return cls(**given)

    def __post_init__(self) -> None:
        _check_of_trainer("nodes", self.nodes, "trainer.num_nodes")
        _check_of_trainer("tasks_per_node", self.tasks_per_node, "trainer.devices")
        if self.delay_s > self.limit_s / 2:
            raise ConfigError(
                f"executor.signal_delay_s must be at most half of timeout_min={self.timeout_min}, "
                f"which is {self.limit_s // 2} s, or a child would restart before it got anywhere; "
                f"got {self.signal_delay_s}"
            )
        for name in self.sbatch:
            self._check_option(name)

    @property
    def limit_s(self) -> int:
        """The time limit of a job."""
        return 60 * self.timeout_min

    @property
    def num_tasks(self) -> int:
        """Processes of a child."""
        return int(self.nodes * self.tasks_per_node)

    @property
    def delay_s(self) -> int:
        """How long before the time limit SLURM sends its warning.

        SLURM may send it 60 s earlier than it was asked to. A sixth leaves a job of one minute
        some time to train.
        """
        if self.signal_delay_s is not None:
            return self.signal_delay_s
        return min(_MOST_DELAY_S, self.limit_s // 6)

    @property
    def num_gpus_per_node(self) -> int | None:
        """GPUs of a node; None: SLURM is not asked for any, or by ``gres``."""
        if self.gpus_per_node is None and self.gres is None:
            return self.tasks_per_node if self.accelerator in _GPU_ACCELERATORS else None
        return self.gpus_per_node or None

    def parameters(self, job_name: str) -> dict[str, Any]:
        """Returns the arguments of submitit's ``SlurmExecutor.update_parameters``."""
        given = {
            "job_name": job_name,
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "time": self.timeout_min,
            "nodes": self.nodes,
            "ntasks_per_node": self.tasks_per_node,
            "gpus_per_node": self.num_gpus_per_node,
            "cpus_per_task": self.cpus_per_task,
            "mem": None if self.mem_gb is None else f"{round(1024 * self.mem_gb)}M",
            "gres": self.gres,
            "constraint": self.constraint,
            "exclude": self.exclude,
        }
        return {
            **{name: value for name, value in given.items() if value is not None},
            "setup": self._setup(),
            "signal_delay_s": self.delay_s,
            "stderr_to_stdout": self.stderr_to_stdout,
            "array_parallelism": self.max_parallel,  # submitit's own choice is 256
            # Since SLURM 22.05 srun takes no number of CPUs from sbatch. One process that dies
            # ends them all: the others would wait for it until the time limit.
            "srun_args": ["--kill-on-bad-exit=1", f"--cpus-per-task={self.cpus_per_task}"],
            "additional_parameters": {
                "no-requeue" if self.retries == 0 else "requeue": True,
                **self.sbatch,
            },
        }

    def text(self) -> str:
        """Returns what a child's job needs, with the keys that say so."""
        gpus = f"gres={self.gres}" if self.gres else f"gpus_per_node={self.num_gpus_per_node or 0}"
        memory = "" if self.mem_gb is None else f", mem_gb={self.mem_gb:g}"
        return (
            f"nodes={self.nodes} with {gpus}, tasks_per_node={self.tasks_per_node} of "
            f"cpus_per_task={self.cpus_per_task}{memory}"
        )

    def _setup(self) -> list[str]:
        threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        lines = [f"export {name}={self.cpus_per_task}" for name in threads]
        if self.num_tasks > 1:
            lines.append("export NASRUNNER_RANKS=srun")  # the child's ranks exist already
        return [*lines, *self.setup]

    def _check_option(self, name: str) -> None:
        if name in _OWN_OPTIONS:
            raise ConfigError(
                f"executor.sbatch.{name}: children's jobs need their own; legal are other options"
            )
        if not _OPTION.fullmatch(name):
            raise ConfigError(
                f"executor.sbatch.{name}: legal are long names of sbatch's options, such as "
                "mail-type"
            )


def _check_of_trainer(name: str, value: object, source: str) -> None:
    if not fits(value, Count):
        raise ConfigError(
            f"executor.{name}, which is {source} unless it is given, must be a whole number >= 1 "
            f"with executor=slurm, for SLURM must know how much to reserve; got {value!r}"
        )
