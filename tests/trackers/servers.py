"""A real MLflow server in a process of its own, and servers that only answer."""

import contextlib
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def mlflow_server(port: int, database: Path, log: Path, store: str | None = None) -> Iterator[str]:
    """Runs until the block ends; yields its address once it answers.

    Artifacts lie beside ``database``, an SQLite file, also where runs are in another ``store``.
    """
    uri = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", store or f"sqlite:///{database}", "--workers", "1"]
    command += ["--artifacts-destination", str(database.parent / "served")]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    # Eight processes that import MLflow, to run jobs that nobody gives them.
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    with log.open("ab") as out:
        server = subprocess.Popen(
            command, stdout=out, stderr=out, env=environment, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{uri}/health", timeout=5).close()
                break
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield uri
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # its workers, too
        server.wait()


class Healthy(http.server.BaseHTTPRequestHandler):
    """Answers that it is there, and does nothing else."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def answering(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """Runs a server in a thread until the block ends; yields its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
