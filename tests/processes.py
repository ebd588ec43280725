"""Real processes for the tests: a server, its clients, its terminal, its commands.

Standard library only, so that the tests run with nothing but requirements.txt. Every
server runs on a free port of its own, over a database in a folder of its own, with an
environment in which nothing is left of the developer's.
"""

import contextlib
import ctypes
import fcntl
import http.client
import json
import os
import pty
import random
import re
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import NamedTuple

SCRIPT = Path(__file__).resolve().parent.parent / "contactapi.py"
SECRET = "ck_secret_4w6q8nofthesetestsservers9zr2"
TOKEN = re.compile(r"ck_(?:secret|pub|live)_[A-Za-z0-9_-]{16,}")
PATIENCE = 60.0  # seconds before a test gives up on a process: never a measurement
STOP_WITHIN = 10.0  # the contract: "exit status 0 within 10 s"
REVOKED_WITHIN = 5.0  # the contract: "within 5 s in every other process"

_libc = ctypes.CDLL(None, use_errno=True)


# ---------------------------------------------------------------------------
# Environment and command line
# ---------------------------------------------------------------------------


def environment(folder, **settings):
    """A clean environment over `folder`'s database; a setting of None is left out."""
    ours = ("CONTACTAPI_", "TWILIO_", "PYTHONUNBUFFERED")
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(ours)
    }
    env.pop("PORT", None)
    env.update(
        DATABASE_URL=f"sqlite:///{folder / 'contacts.db'}",
        CONTACTAPI_RATE_LIMIT="off",
        PYTHONDONTWRITEBYTECODE="1",
    )
    for name, value in settings.items():
        env.pop(name, None)
        if value is not None:
            env[name] = str(value)
    return env


def run(env, *arguments, cwd=None, timeout=PATIENCE, preexec_fn=None, script=SCRIPT):
    """`python contactapi.py …` to its end: returncode, stdout and stderr as text."""
    return subprocess.run(
        [sys.executable, str(script), *map(str, arguments)],
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=timeout,
        preexec_fn=preexec_fn,
    )


def make_key(env, *arguments):
    """A new key's token, made by `keys create`, which prints it alone."""
    made = run(env, "keys", "create", *arguments)
    assert (made.returncode, made.stderr) == (0, ""), made
    return made.stdout.removesuffix("\n")


def listed_keys(env):
    """What `keys list --json` prints, as a list of objects."""
    listed = run(env, "keys", "list", "--json")
    assert (listed.returncode, listed.stderr) == (0, ""), listed
    return json.loads(listed.stdout)


def free_port():
    """A port that nobody has, below those that the kernel gives to outgoing connections
    (polling one of those until a server listens may connect the client to itself)."""
    while True:
        port = random.randrange(10_240, 32_768)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def bound_by_file_modes():
    """For preexec_fn: file modes bind root too, who loses CAP_DAC_OVERRIDE."""
    PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1
    if os.geteuid() == 0 and _libc.prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


# ---------------------------------------------------------------------------
# Answers
# ---------------------------------------------------------------------------


class Answer(NamedTuple):
    status: int
    headers: dict  # lower-case names; a repeated one is joined by ", "
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class Cut(Exception):
    """The connection ended in the middle of an answer."""


def _line(stream):
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise Cut(line)
    return line.rstrip(b"\r\n")


def _exactly(stream, length):
    data = stream.read(length)
    if len(data) < length:
        raise Cut(f"{len(data)} of {length} bytes")
    return data


def _chunks(stream):
    while size := int(_line(stream).split(b";")[0], 16):
        yield _exactly(stream, size)
        _line(stream)
    while _line(stream):
        pass


def read_answer(stream, head=False):
    """The next answer on a socket's file, None where the other end closed before it.

    Stricter than http.client, which takes a head that ends too early for a whole one.
    Raises Cut, also for a reset on the way, and ConnectionResetError for a reset before
    the first byte. Interim answers (100) are answers of their own.
    """
    if not stream.peek(1):
        return None
    try:
        return _read_begun(stream, head)
    except ConnectionResetError as error:
        raise Cut("reset") from error


def _read_begun(stream, head):
    first = stream.readline()
    if not first.endswith(b"\n"):
        raise Cut(first)
    match = re.fullmatch(rb"HTTP/1\.[01] (\d{3})(?: [^\r\n]*)?\r\n", first)
    assert match, f"not a status line: {first!r}"
    status, headers = int(match[1]), {}
    while line := _line(stream):
        name, _, value = line.decode("latin-1").partition(":")
        name = name.lower()
        value = value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if head or status < 200 or status in (204, 304):
        body = b""
    elif headers.get("transfer-encoding") == "chunked":
        body = b"".join(_chunks(stream))
    elif "content-length" in headers:
        body = _exactly(stream, int(headers["content-length"]))
    else:
        body = stream.read()
    return Answer(status, headers, body)


def assert_error(answer, *statuses, code=None):
    """The contract's one shape of an error, with the headers that every answer has."""
    assert answer is not None, "no answer at all"
    assert answer.status in statuses, answer
    assert answer.headers["content-type"] == "application/json; charset=utf-8", answer
    assert answer.headers["cache-control"] == "no-store", answer
    assert answer.headers["x-content-type-options"] == "nosniff", answer
    assert answer.headers["x-request-id"], answer
    assert set(answer.json) == {"error"}, answer
    assert (
        {"code", "message"} <= set(answer.json["error"]) <= {"code", "message", "param"}
    )
    assert all(type(text) is str and text for text in answer.json["error"].values())
    if code:
        assert answer.json["error"]["code"] == code, answer


# ---------------------------------------------------------------------------
# Clients
# ---------------------------------------------------------------------------


class Wire:
    """A raw connection: bytes out, strictly read answers in."""

    def __init__(self, port, timeout=PATIENCE, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.socket.connect(("127.0.0.1", port))
        except OSError:
            self.socket.close()
            raise
        self.stream = self.socket.makefile("rb")

    def send(self, data):
        """Sends all; a peer that answers and closes before it has read all is fine."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(data)

    def read(self, head=False):
        return read_answer(self.stream, head)

    def ended(self):
        """Whether the other end has closed, once it has nothing more to say."""
        try:
            return self.stream.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.stream.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def request_bytes(method, path, body=None, key=SECRET, headers=(), version="1.1"):
    """One HTTP request; `body` is bytes, or anything that JSON can say."""
    lines = [f"{method} {path} HTTP/{version}", "Host: 127.0.0.1"]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
        lines.append("Content-Type: application/json")
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    lines.extend(headers)
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


class Client:
    """A keep-alive connection that speaks JSON and opens anew after a close."""

    def __init__(self, port, key=SECRET):
        self.connection = http.client.HTTPConnection(
            "127.0.0.1", port, timeout=PATIENCE
        )
        self.key = key

    def ask(self, method, path, body=None, headers=None):
        headers = dict(headers or {})
        if self.key:
            headers.setdefault("Authorization", f"Bearer {self.key}")
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        names = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, names, answer.read())

    def close(self):
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def half(data, where):
    """Cuts a request in two: after its first byte, in its head or in its body."""
    head = data.index(b"\r\n\r\n") + 4
    cut = {"first byte": 1, "head": head // 2, "body": head + (len(data) - head) // 2}[
        where
    ]
    return data[:cut], data[cut:]


# ---------------------------------------------------------------------------
# Servers
# ---------------------------------------------------------------------------


class Server:
    """`contactapi.py serve` on one port and one folder, started as often as needed.

    `output` holds whatever any of its processes wrote, to both streams, in order.
    """

    script = SCRIPT
    pass_fds = ()  # descriptors that it inherits

    def __init__(self, folder, **settings):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.database = folder / "contacts.db"
        self.port = free_port()
        self.process = None
        self._output = bytearray()
        self._reader = None
        settings.setdefault("CONTACTAPI_SECRET_KEY", SECRET)
        self.env = environment(folder, **settings)

    @property
    def command(self):
        return [sys.executable, str(self.script), "serve", "--port", str(self.port)]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def output(self):
        return bytes(self._output)

    def start(self, preexec_fn=None, cwd=None):
        assert self.process is None or self.process.poll() is not None
        self.process = subprocess.Popen(
            self.command,
            env=self.env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            preexec_fn=preexec_fn,
            pass_fds=self.pass_fds,
        )
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,))
        self._reader.start()
        self.wait_until_ready()
        return self

    def _read(self, pipe):
        with pipe:
            while data := os.read(pipe.fileno(), 65536):
                self._output += data

    def wait_until_ready(self):
        wait_until_ready(self.port, self.process, lambda: self.output)

    def ask(self, method, path, body=None, headers=None, key=SECRET):
        """One request on a connection of its own."""
        with Client(self.port, key) as client:
            return client.ask(method, path, body, headers)

    def wire(self, **options):
        return Wire(self.port, **options)

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def exit_status(self, timeout=STOP_WITHIN):
        """The exit status; raises TimeoutExpired where it takes longer."""
        status = self.process.wait(timeout)
        self._reader.join(PATIENCE)
        return status

    def stop(self):
        """A clean stop, which the contract wants to end with 0 within 10 s."""
        self.signal(signal.SIGTERM)
        status = self.exit_status()
        assert status == 0, (status, self.output[-2000:])

    def kill(self):
        """SIGKILL, if it still runs; it is gone when this returns."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.exit_status(PATIENCE)

    def limit_file_size(self, limit=resource.RLIM_INFINITY):
        """A full disk from outside: no file of the process may grow past `limit`."""
        _, hard = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (limit, hard))

    def walk(self, path="/v1/contacts", key=SECRET):
        """Every record, by walking the pages; asserts that `total` is their number."""
        records, page = [], 1
        with Client(self.port, key) as client:
            while True:
                answer = client.ask("GET", f"{path}?page_size=100&page={page}")
                assert answer.status == 200, answer
                records += answer.json["data"]
                if page >= answer.json["total_pages"]:
                    break
                page += 1
        assert answer.json["total"] == len(records)
        assert len({record["id"] for record in records}) == len(records)
        return records

    def integrity(self):
        with contextlib.closing(sqlite3.connect(self.database, timeout=PATIENCE)) as db:
            return db.execute("PRAGMA integrity_check").fetchone()[0]


# What systemd does for a unit with a socket: the socket is descriptor 3, and the
# environment says so and whom it is for.
HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid() + int(sys.argv[2])))
os.execv(sys.argv[3], sys.argv[3:])
"""


class Held(Server):
    """A server whose port is held for it, as deploy/contactapi.socket does; `stray`
    makes it another process's."""

    stray = 0

    def __init__(self, folder, **settings):
        super().__init__(folder, **settings)
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=1024)
        self.listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)

    @property
    def command(self):
        handed = [str(self.listener.fileno()), str(self.stray)]
        return [sys.executable, "-c", HAND_OVER, *handed, *super().command]

    @property
    def pass_fds(self):
        return (self.listener.fileno(),)

    def kill(self):
        super().kill()
        self.listener.close()


def wait_until_ready(port, process, output):
    """Returns once /healthz is 200; fails with the output where the process ends."""
    deadline = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None, f"exit {process.returncode}: {output()!r}"
        assert time.monotonic() < deadline, f"not ready: {output()!r}"
        with contextlib.suppress(ConnectionError), Client(port) as client:
            if client.ask("GET", "/healthz").status == 200:
                return
        time.sleep(0.02)


def until(question, within=PATIENCE):
    """Asks until the answer is true; returns it, or the false one at the deadline."""
    deadline = time.monotonic() + within
    while not (answer := question()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return answer


def together(*tasks):
    """Runs the callables at once, to their end; raises the first error."""
    errors = []

    def guarded(task):
        try:
            task()
        except BaseException as error:  # noqa: BLE001 - handed on to the test below
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@contextlib.contextmanager
def running(*tasks):
    """Runs the callables, each given a `stopped` event, while the block runs."""
    stopped = threading.Event()
    errors = []

    def guarded(task):
        try:
            task(stopped)
        except BaseException as error:  # noqa: BLE001 - handed on to the test below
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopped.set()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]


def big_contacts(server, count=60, size=60_000):
    """Makes contacts whose first page is a few megabytes, more than sockets buffer."""
    with Client(server.port) as client:
        for n in range(count):
            body = {"email": f"big{n}@big.example", "pad": "x" * size}
            assert client.ask("POST", "/v1/contacts", body).status == 201


# ---------------------------------------------------------------------------
# Terminals
# ---------------------------------------------------------------------------


class Terminal:
    """A process that believes it has a terminal, and what the terminal shows.

    Standard error goes to the terminal as well, unless `errors` (a file) takes it.
    """

    def __init__(self, command, env, errors=None, cwd=None):
        self._shown = bytearray()
        self._master, slave = pty.openpty()
        try:
            self.process = subprocess.Popen(
                command,
                env={**env, "TERM": "xterm"},
                cwd=cwd,
                stdin=slave,
                stdout=slave,
                stderr=errors or slave,
                start_new_session=True,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            )
        finally:
            os.close(slave)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        with contextlib.suppress(OSError):  # EIO: no one holds the other end any more
            while data := os.read(self._master, 65536):
                self._shown += data

    @property
    def shown(self):
        text = bytes(self._shown).decode("utf-8", "replace")
        return text.replace("\r\n", "\n")

    def press_ctrl_c(self):
        os.write(self._master, b"\x03")

    def exit_status(self, timeout=PATIENCE):
        status = self.process.wait(timeout)
        self._reader.join(PATIENCE)
        return status

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        os.close(self._master)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# ---------------------------------------------------------------------------
# Files
# ---------------------------------------------------------------------------


def files_in(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def modes_in(folder):
    return {path.name: oct(path.stat().st_mode & 0o777) for path in files_in(folder)}


def traces_of(markers, folder):
    """Which of the markers (texts, case of A–Z ignored) stand in which file's bytes."""
    found = []
    for path in files_in(folder):
        data = path.read_bytes().lower()
        found += [
            (path.name, text) for text in markers if text.lower().encode() in data
        ]
    return found


def garbage(length=20_000):
    return random.Random(5).randbytes(length)
