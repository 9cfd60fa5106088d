"""A real PostgreSQL in a folder of its own: no service, no root's rights, no port of others."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.trackers.servers import free_port

PASSWORD = "p@ss/wörd"
"""Of every user; with characters that a URI must not hold as they are."""


def postgresql_programs() -> Path | None:
    """Where Debian puts initdb and pg_ctl; None: they are not installed, or hidden from PATH."""
    if shutil.which("psql") is None:
        return None
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    at = shutil.which("initdb")
    return found[-1].parent if found else Path(at).parent if at else None


@dataclass(frozen=True)
class Postgresql:
    """A server that runs.

    Attributes:
        programs: where its commands are.
        port: where it listens, on 127.0.0.1.
        log: what it says.
    """

    programs: Path
    port: int
    log: Path

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Runs a statement as the superuser, and returns the rows."""
        command = [str(self.programs / "psql"), "-h", "127.0.0.1", "-p", str(self.port), "-qAtX"]
        command += ["-U", "postgres", "-v", "ON_ERROR_STOP=1", "-c", statement, database]
        environment = {**os.environ, "PGPASSWORD": PASSWORD}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def new_database(self, name: str) -> str:
        """Makes an empty one and returns its URI, which has no password."""
        self.sql(f"CREATE DATABASE {name}")
        return self.uri(name)

    def uri(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"


@contextlib.contextmanager
def postgresql(programs: Path) -> Iterator[Postgresql]:
    """Starts a server and stops it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    port = free_port()
    try:
        (folder / "password").write_text(PASSWORD)
        _own(folder)
        data = folder / "data"
        initdb = ["initdb", "-D", str(data), "-U", "postgres", "--auth=scram-sha-256", "--no-sync"]
        initdb += [f"--pwfile={folder}/password", "--encoding=UTF8", "--locale=C"]
        _run(programs, initdb)
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        log = folder / "log"
        _run(programs, ["pg_ctl", "-D", str(data), "-l", str(log), "-w", "-o", options, "start"])
        try:
            yield Postgresql(programs, port, log)
        finally:
            _run(programs, ["pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop"])
    finally:
        shutil.rmtree(folder)


def _run(programs: Path, command: Sequence[str]) -> None:
    """PostgreSQL refuses to run as root: Debian's package brings a user for it."""
    as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    with tempfile.TemporaryFile("w+") as said:  # not a pipe: the server would keep it open
        whole = [*as_user, str(programs / command[0]), *command[1:]]
        done = subprocess.run(whole, stdout=said, stderr=said, cwd="/", check=False)
        said.seek(0)
        assert done.returncode == 0, said.read()


def _own(folder: Path) -> None:
    if os.getuid() == 0:
        user = pwd.getpwnam("postgres")
        for path in (folder, *folder.iterdir()):
            os.chown(path, user.pw_uid, user.pw_gid)
