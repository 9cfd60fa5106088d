"""A real SLURM cluster on one Debian machine, brought up and down in seconds, without services.

``python -m tests.slurm.cluster start --folder /tmp/lab`` starts slurmctld, munged and four slurmd;
then ``export SLURM_CONF=/tmp/lab/etc/slurm.conf`` and use it. ``… stop --folder /tmp/lab`` ends it.
"""

import argparse
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.slurm.machines.accounting import start_accounting
from tests.slurm.machines.configuration import Lab, write_configuration
from tests.slurm.machines.daemons import (
    Daemons,
    environment_of,
    happens,
    has_open,
    is_alive,
    name_of,
    pids,
    send,
)
from tests.slurm.machines.ports import reserve_ports

_UP_WITHIN_S = 60.0


def missing_programs(has_accounting: bool = False) -> list[str]:
    """What must be installed first, see install.sh."""
    needed = ["slurmctld", "slurmd", "munged", "sbatch"]
    needed += ["slurmdbd", "mariadbd"] if has_accounting else []
    return [name for name in needed if shutil.which(name, path=_path()) is None]


class Cluster:
    """A SLURM cluster with nodes n1, n2, … and the partitions main, urgent and short.

    Jobs of ``urgent`` preempt those of ``main``, which are requeued; ``short`` takes jobs of up to
    30 minutes.

    Args:
        lab: what it looks like.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.environment = {**os.environ, "PATH": _path(), "SLURM_CONF": str(lab.slurm_conf)}
        self.daemons = Daemons(lab.folder, self.environment)

    @classmethod
    def found(cls, folder: Path) -> "Cluster":
        """The cluster that was started in a folder, by this process or another."""
        described = json.loads((folder / "lab.json").read_text())
        return cls(Lab(**{**described, "folder": folder}))

    def start(self) -> None:
        """Starts every daemon and returns when all nodes are idle."""
        write_configuration(self.lab)
        described = {**dataclasses.asdict(self.lab), "folder": str(self.lab.folder)}
        (self.lab.folder / "lab.json").write_text(json.dumps(described))
        self._start_munge()
        if self.lab.has_accounting:
            start_accounting(self.lab, self.daemons)
        self.start_controller()
        for node in self.lab.node_names:
            self.start_node(node)
        assert happens(self._all_idle, _UP_WITHIN_S), self.daemons.log("slurmctld")

    def stop(self) -> None:
        """Ends jobs, daemons and whatever a job left behind."""
        if "slurmctld" in self.daemons.names():
            self.run("scancel", "-u", str(os.getuid()), check=False)
            happens(lambda: not self.run("squeue", "-h", check=False), 3.0)
        self.daemons.end("slurmctld")
        for node in self.lab.node_names:
            self.daemons.end(f"slurmd.{node}")
            self._kill_jobs(node)
        for name in ("slurmdbd", "mariadbd", "munged"):
            self.daemons.end(name)

    def run(self, *command: str, check: bool = True, timeout_s: float = 30.0) -> str:
        """Runs a command of SLURM's and returns what it printed."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=timeout_s
        )
        assert not check or done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout.strip()

    def start_controller(self) -> None:
        self.daemons.start("slurmctld", ["slurmctld", "-D", "-f", str(self.lab.slurm_conf)])

    def stop_controller(self) -> None:
        """As an administrator would, so that it saves its state."""
        self.daemons.end("slurmctld")

    def start_node(self, node: str) -> None:
        (self.lab.folder / "spool" / node).mkdir(exist_ok=True)
        command = ["slurmd", "-D", "-N", node, "-f", str(self.lab.slurm_conf)]
        self.daemons.start(f"slurmd.{node}", command)

    def kill_node_daemon(self, node: str) -> None:
        """Kills a slurmd; the jobs of its node go on."""
        self.daemons.kill(f"slurmd.{node}")

    def crash_node(self, node: str) -> None:
        """Kills a slurmd and every process of its jobs, as if the machine had lost power."""
        self.daemons.kill(f"slurmd.{node}")
        self._kill_jobs(node)

    def heal(self) -> None:
        """Starts what is down and takes every node back into service."""
        if "slurmctld" not in self.daemons.names():
            self.start_controller()
        for node in self.lab.node_names:
            if f"slurmd.{node}" not in self.daemons.names():
                self.start_node(node)

        def is_whole() -> bool:
            for state in ("resume", "idle"):
                names = f"nodename={','.join(self.lab.node_names)}"
                self.run("scontrol", "update", names, f"state={state}", check=False)
            return self._all_idle()

        assert self._all_idle() or happens(is_whole, _UP_WITHIN_S), self.run("sinfo", "-N", "-l")

    def next_node(self) -> str:
        """The node that the next job will get, unless it is large."""
        return next(node for node, state in self._states() if state == "idle")

    def processes_of(self, node: str) -> list[int]:
        """The processes of the jobs of a node, and the slurmstepd that watch them.

        A slurmstepd is no child of its slurmd and writes its title over its environment: it is
        known by its log.
        """
        log = self.lab.node_log(node)
        return [
            pid
            for pid in pids()
            if (name_of(pid) == "slurmstepd" and has_open(pid, log)) or self._is_of_job(pid, node)
        ]

    def _is_of_job(self, pid: int, node: str) -> bool:
        found = environment_of(pid)
        # Another cluster on this machine may have a node of the same name.
        return found.get("SLURMD_NODENAME") == node and found.get("SLURM_CONF") == str(
            self.lab.slurm_conf
        )

    def _kill_jobs(self, node: str) -> None:
        for pid in self.processes_of(node):
            send(pid, signal.SIGKILL)

    def _start_munge(self) -> None:
        run, log = self.lab.folder / "run", self.lab.folder / "log"
        self.daemons.start(
            "munged",
            [
                *["munged", "--foreground", "--force", f"--socket={self.lab.munge_socket}"],
                *[f"--key-file={self.lab.slurm_conf.parent}/munge.key"],
                *[f"--pid-file={run}/munged.pid", f"--seed-file={run}/munge.seed"],
                f"--log-file={log}/munged.log",
            ],
        )
        assert happens(self.lab.munge_socket.exists, _UP_WITHIN_S), self.daemons.log("munged")

    def _all_idle(self) -> bool:
        # A node may take a minute to complete what ended while its slurmd was away.
        ready = [state in ("idle", "completing") for _, state in self._states()]
        return ready == [True] * self.lab.nodes

    def _states(self) -> list[list[str]]:
        """Names and states; sinfo's filter for idle nodes would let drained ones pass."""
        text = self.run("sinfo", "-h", "-N", "-p", "main", "-o", "%N %T", check=False)
        return [line.split() for line in text.splitlines()]


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"  # Debian's slurmctld is for administrators


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    actions = ["start", "stop", "status", "heal"]
    actions += [
        "kill-node-daemon",
        "crash-node",
        "start-node",
        "start-controller",
        "stop-controller",
    ]
    parser.add_argument("action", choices=actions)
    parser.add_argument("node", nargs="?", help="n1, n2, …")
    parser.add_argument("--folder", type=Path, help="default: a new one below /tmp")
    parser.add_argument("--first-port", type=int, help="of 40; default: free ones")
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--cpus", type=int, default=4, help="of a node")
    parser.add_argument("--gpus", type=int, default=2, help="of a node")
    parser.add_argument("--accounting", action="store_true")
    given = parser.parse_args()
    if given.action == "start":
        folder = given.folder or Path(tempfile.mkdtemp(prefix="slurm-"))
        port = given.first_port or reserve_ports()
        lab = Lab(folder, port, given.nodes, given.cpus, 4000, given.gpus, given.accounting)
        Cluster(lab).start()
        sys.stdout.write(f"export SLURM_CONF={lab.slurm_conf} PATH=$PATH:/usr/sbin\n")
        return
    cluster = Cluster.found(given.folder)
    if given.action == "status":
        sys.stdout.write(cluster.run("sinfo", "-N", "-l") + "\n")
        for name in cluster.daemons.names():
            state = "runs" if is_alive(cluster.daemons.pid(name)) else "is dead"
            sys.stdout.write(f"{name} {state}\n")
        return
    method = getattr(cluster, given.action.replace("-", "_"))
    method(given.node) if "node" in given.action else method()


if __name__ == "__main__":
    main()
