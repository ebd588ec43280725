"""The servers under test: how each is started, asked, weighed and stopped."""

import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from load import PATH
from servers.sample import TOKEN, contact


class Skipped(Exception):
    """Something that cannot be measured here, and why, in one line."""


@dataclass
class Subject:
    """One server with one database.

    `command` is what starts it, "{port}" standing for the port; `size` is how many
    contacts it was seeded with, and `ids` a file of ids that it knows, one a line.
    """

    label: str
    size: int
    command: list
    environ: dict
    log: Path
    ids: Path
    token: str = TOKEN
    process: Optional[subprocess.Popen] = None
    port: int = 0

    def start(self, extra: Optional[dict] = None, patience: float = 20) -> float:
        """Start it and return the seconds until it first answers /healthz. Raises
        Skipped when it ends, or does not answer for `patience` seconds."""
        self.port = free_port()
        command = [str(part).format(port=self.port) for part in self.command]
        with open(self.log, "ab") as log:
            begun = time.monotonic()
            self.process = subprocess.Popen(
                command,
                env={**self.environ, **(extra or {})},
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while time.monotonic() < begun + patience:
            if self.answers():
                return time.monotonic() - begun
            if self.process.poll() is not None:
                break
            time.sleep(0.002)
        self.stop()
        raise Skipped(f"{self.label} did not start: {last_line(self.log)}")

    def answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        """SIGTERM, and after fifteen seconds SIGKILL to all that it started."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None

    def rss(self) -> float:
        """Megabytes in memory now, worker processes included."""
        return sum(memory(pid, "VmRSS") for pid in family(self.process.pid))

    def check(self, operation: str) -> None:
        """One request of this operation; Skipped unless the answer is what it should
        be, so that no one measures how fast a server says no."""
        with open(self.ids) as lines:
            known = lines.readline().strip()
        new = {**contact(0), "email": "new@example.org"}
        method, path, body, status = {
            "GET": ("GET", f"{PATH}/{known}", None, 200),
            "list": ("GET", f"{PATH}?page=1&page_size=20", None, 200),
            "upsert": ("POST", PATH, contact(0), 201),
            "PATCH": ("PATCH", f"{PATH}/{known}", {"name": "Grace Hopper"}, 200),
            "create": ("POST", PATH, new, 201),
        }[operation]
        client = Client(self)
        try:
            got, answer = client.ask(method, path, body)
            data = json.loads(answer)
        except (OSError, ValueError, http.client.HTTPException) as err:
            raise Skipped(f"{self.label} does not answer {operation}: {err!r}") from err
        finally:
            client.close()
        whole = len(data.get("data", [])) == 20 if operation == "list" else "id" in data
        if got != status or not whole:
            raise Skipped(f"{self.label} answers {operation} with {got}")


class Client:
    """Single requests through one keep-alive connection."""

    def __init__(self, subject: Subject):
        address = ("127.0.0.1", subject.port)
        self.connection = http.client.HTTPConnection(*address, timeout=60)
        self.headers = {
            "Authorization": f"Bearer {subject.token}",
            "Content-Type": "application/json",
        }

    def ask(self, method: str, path: str, body: Optional[dict] = None) -> tuple:
        """(status, body)"""
        text = None if body is None else json.dumps(body)
        self.connection.request(method, path, text, self.headers)
        response = self.connection.getresponse()
        return response.status, response.read()

    def time(self, path: str) -> float:
        """The milliseconds that a GET takes; Skipped unless it succeeds."""
        begun = time.perf_counter()
        try:
            status, body = self.ask("GET", path)
        except (OSError, http.client.HTTPException) as err:
            raise Skipped(f"GET {path}: {err!r}") from err
        taken = (time.perf_counter() - begun) * 1e3
        if status != 200:
            raise Skipped(f"GET {path} is answered with {status}")
        return taken

    def close(self) -> None:
        self.connection.close()


# Processes


def clean_environ() -> dict:
    """The environment without what would change how contactapi or Python runs."""
    ours = ("CONTACTAPI_", "TWILIO_", "DATABASE_URL", "PYTHON")
    kept = {name: v for name, v in os.environ.items() if not name.startswith(ours)}
    kept.pop("PORT", None)
    return kept


def run(command: list, environ: dict, timeout: float = 600) -> tuple:
    """Run a command to its end: (seconds, peak megabytes, standard output). Raises
    Skipped, with the last line that it said, when it fails or takes too long."""
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        command = [str(part) for part in command]
        begun = time.monotonic()
        process = subprocess.Popen(command, env=environ, stdout=output, stderr=errors)
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, memory(process.pid, "VmHWM"))
            if time.monotonic() > begun + timeout:
                process.kill()
                process.wait()
                raise Skipped(f"`{' '.join(command[1:4])}` took over {timeout} s")
            time.sleep(0.01)
        seconds = time.monotonic() - begun
        if process.returncode:
            errors.seek(0)
            said = errors.read().strip().splitlines() or ["no output"]
            raise Skipped(f"`{' '.join(command[1:4])}` failed: {said[-1]}")
        output.seek(0)
        return seconds, peak, output.read()


def memory(pid: int, row: str) -> float:
    """A row of /proc/PID/status in megabytes, 0 when the process has gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(row + ":"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def family(pid: int) -> list:
    """The process and all that it started."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        children = []
    return [pid] + [each for child in children for each in family(int(child))]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def last_line(path: Path) -> str:
    lines = path.read_text(errors="replace")[-4000:].split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "no output")
