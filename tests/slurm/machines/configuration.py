"""The files that describe a SLURM cluster of several nodes on one machine."""

import getpass
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Lab:
    """A cluster on one machine: ``nodes`` slurmd processes, each with a port of its own.

    Attributes:
        folder: everything lies below it; a short path, as it holds sockets.
        first_port: of 40 in a row. Lightning takes 15000 + the last four digits of a job's
            number for DDP, so they must not lie there.
        nodes: n1, n2, …
        cpus: of a node; booked, not enforced, so they may be more than there are.
        memory_mb: of a node; booked, not enforced.
        gpus: of a node; device files that are none.
        has_accounting: slurmdbd over MariaDB, so that sacct and accounts work.
    """

    folder: Path
    first_port: int
    nodes: int = 4
    cpus: int = 4
    memory_mb: int = 4000
    gpus: int = 2
    has_accounting: bool = False

    @property
    def slurm_conf(self) -> Path:
        return self.folder / "etc" / "slurm.conf"

    @property
    def munge_socket(self) -> Path:
        return self.folder / "run" / "munge.socket"

    @property
    def node_names(self) -> list[str]:
        return [f"n{number}" for number in range(1, self.nodes + 1)]

    @property
    def database_port(self) -> int:
        return self.first_port + 2

    def node_log(self, node: str) -> Path:
        return self.folder / "log" / f"slurmd.{node}.log"


def write_configuration(lab: Lab) -> None:
    """Writes slurm.conf and what it names."""
    for name in ("etc", "state", "log", "run", "spool", "pids"):
        (lab.folder / name).mkdir(mode=0o755, parents=True, exist_ok=True)
    etc = lab.slurm_conf.parent
    lab.slurm_conf.write_text(slurm_conf(lab))
    (etc / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    (etc / "gres.conf").write_text(_gres_conf(lab))
    (etc / "plugstack.conf").touch()
    # Node names do not resolve, and DDP's rendezvous would be at the first one's.
    _write_script(etc / "task_prolog.sh", "echo export MASTER_ADDR=127.0.0.1\n")
    key = etc / "munge.key"
    if not key.exists():
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))


def slurm_conf(lab: Lab) -> str:
    """The main file.

    What is not a default, and why: ``cred_expire`` is how long a requeued job waits (120 s);
    ``batch_sched_delay`` and ``sched_interval`` are most of the time until a job starts (3 s);
    ``FirstJobId`` keeps a new cluster from using the numbers of an old one's files;
    ``proctrack/linuxproc`` and ``task/none`` need no cgroups; ``SlurmdTimeout`` is how long a dead
    node goes unnoticed; ``MinJobAge`` is how long
    squeue at least knows a job that ended.
    """
    user, host, run = getpass.getuser(), socket.gethostname().split(".")[0], lab.folder / "run"
    lines = [
        "ClusterName=lab",
        f"SlurmctldHost={host}(127.0.0.1)",
        f"SlurmUser={user}",
        f"SlurmdUser={user}",
        f"SlurmctldPort={lab.first_port}",
        f"StateSaveLocation={lab.folder}/state",
        f"SlurmdSpoolDir={lab.folder}/spool/%n",
        f"SlurmctldPidFile={run}/slurmctld.pid",
        f"SlurmdPidFile={run}/slurmd.%n.pid",
        f"SlurmctldLogFile={lab.folder}/log/slurmctld.log",
        f"SlurmdLogFile={lab.folder}/log/slurmd.%n.log",
        "AuthType=auth/munge",
        "CredType=cred/munge",
        f"AuthInfo=socket={lab.munge_socket},cred_expire=5",
        "MpiDefault=none",
        f"TaskProlog={lab.folder}/etc/task_prolog.sh",
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "SwitchType=switch/none",
        "JobAcctGatherType=jobacct_gather/none",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_CPU_Memory",
        "DefMemPerCPU=100",
        "SlurmdParameters=config_overrides",
        "SchedulerType=sched/backfill",
        "SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1",
        "PreemptType=preempt/partition_prio",
        "PreemptMode=REQUEUE",
        "ReturnToService=2",
        "JobRequeue=1",
        "MaxArraySize=100001",
        "MaxJobCount=100000",
        f"MinJobAge={2 if lab.has_accounting else 300}",
        f"FirstJobId={int(time.time()) % 9_000_000 + 1000}",
        "SlurmctldTimeout=10",
        "SlurmdTimeout=10",
        "KillWait=2",
        "GresTypes=gpu",
        *_accounting(lab),
    ]
    lines += [
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={lab.first_port + 10 + at} "
        f"CPUs={lab.cpus} RealMemory={lab.memory_mb} Gres=gpu:{lab.gpus} State=UNKNOWN"
        for at, node in enumerate(lab.node_names)
    ]
    lines += [
        "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=01:00:00 State=UP "
        "PriorityTier=10 PreemptMode=REQUEUE",
        "PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=20 PreemptMode=OFF",
        "PartitionName=short Nodes=ALL MaxTime=00:30:00 State=UP PriorityTier=10",
    ]
    return "\n".join(lines) + "\n"


def _accounting(lab: Lab) -> list[str]:
    if not lab.has_accounting:
        return ["AccountingStorageType=accounting_storage/none"]
    return [
        "AccountingStorageType=accounting_storage/slurmdbd",
        "AccountingStorageHost=127.0.0.1",
        f"AccountingStoragePort={lab.first_port + 1}",
        f"AccountingStoragePass={lab.munge_socket}",  # or clients look for the system's munge
        "AccountingStorageTRES=gres/gpu",
        "AccountingStorageEnforce=associations",  # an account that does not exist is refused
    ]


def _gres_conf(lab: Lab) -> str:
    """GPUs are character devices whose names end in numbers; plain files would be counted, but
    CUDA_VISIBLE_DEVICES would stay empty."""
    device = lab.folder / "run" / "fakegpu"
    try:
        for number in range(lab.gpus):
            os.mknod(f"{device}{number}", 0o20666, os.makedev(1, 3))
    except FileExistsError:
        pass
    except PermissionError:  # not root: consoles are there anyway
        device = Path("/dev/tty")
    return f"NodeName=n[1-{lab.nodes}] Name=gpu File={device}[0-{lab.gpus - 1}]\n"


def _write_script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)
