"""SLURM's accounting: slurmdbd over a MariaDB of its own, both from Debian's packages."""

import getpass
import subprocess
from pathlib import Path

from tests.slurm.machines.configuration import Lab
from tests.slurm.machines.daemons import Daemons, happens

_UP_WITHIN_S = 60.0


def start_accounting(lab: Lab, daemons: Daemons) -> None:
    """Starts database and slurmdbd, and makes the account ``lab`` for the user of this process."""
    _start_database(lab, daemons)
    _write_conf(lab)
    daemons.start("slurmdbd", ["slurmdbd", "-D"])
    command = ["sacctmgr", "-n", "list", "cluster"]
    assert happens(lambda: _succeeds(command, daemons), _UP_WITHIN_S), daemons.log("slurmdbd")
    for what in (
        ["cluster", "lab"],
        ["account", "lab", "cluster=lab"],
        ["user", getpass.getuser(), "account=lab", "adminlevel=Admin"],
    ):
        _succeeds(["sacctmgr", "-i", "add", *what], daemons)  # fails where it is there already


def _start_database(lab: Lab, daemons: Daemons) -> None:
    folder, socket = lab.folder / "mysql", lab.folder / "run" / "mysql.sock"
    own = ["--no-defaults", f"--socket={socket}"]
    if not folder.exists():
        folder.mkdir(mode=0o755)
        options = [f"--datadir={folder}", f"--user={getpass.getuser()}", "--skip-test-db"]
        install = ["mariadb-install-db", "--no-defaults", *options]
        subprocess.run(
            [*install, "--auth-root-authentication-method=socket"], check=True, capture_output=True
        )
    daemons.start(
        "mariadbd",
        [
            *["mariadbd", *own, f"--datadir={folder}", f"--user={getpass.getuser()}"],
            *[f"--port={lab.database_port}", "--bind-address=127.0.0.1"],
            *["--innodb-buffer-pool-size=32M", "--innodb-lock-wait-timeout=900"],
            *["--innodb-log-file-size=16M", "--innodb-flush-log-at-trx-commit=0"],
            *["--performance-schema=OFF", "--skip-log-bin"],
        ],
    )
    ping = ["mariadb-admin", *own, "ping"]
    assert happens(lambda: _succeeds(ping, daemons), _UP_WITHIN_S), daemons.log("mariadbd")
    statements = ["create database if not exists slurm_acct_db"]
    for host in ("127.0.0.1", "localhost"):
        statements.append(f"create user if not exists 'slurm'@'{host}' identified by 'slurm'")
        statements.append(f"grant all on slurm_acct_db.* to 'slurm'@'{host}'")
    subprocess.run(["mariadb", *own, "-e", "; ".join(statements)], check=True)


def _write_conf(lab: Lab) -> None:
    path: Path = lab.slurm_conf.parent / "slurmdbd.conf"
    path.touch(mode=0o600)  # slurmdbd refuses a file that others may read
    path.write_text(
        "DbdHost=localhost\n"
        "DbdAddr=127.0.0.1\n"
        f"DbdPort={lab.first_port + 1}\n"
        f"SlurmUser={getpass.getuser()}\n"
        "AuthType=auth/munge\n"
        f"AuthInfo=socket={lab.munge_socket}\n"
        f"PidFile={lab.folder}/run/slurmdbd.pid\n"
        f"LogFile={lab.folder}/log/slurmdbd.log\n"
        "StorageType=accounting_storage/mysql\n"
        "StorageHost=127.0.0.1\n"
        f"StoragePort={lab.database_port}\n"
        "StorageUser=slurm\n"
        "StoragePass=slurm\n"
        "StorageLoc=slurm_acct_db\n"
    )


def _succeeds(command: list[str], daemons: Daemons) -> bool:
    done = subprocess.run(command, env=dict(daemons.environment), capture_output=True, timeout=60)
    return done.returncode == 0
