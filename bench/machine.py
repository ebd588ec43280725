"""What the figures were measured on, and the Python that runs the servers."""

import contextlib
import ctypes
import mmap
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from subjects import Skipped, clean_environ

PACKAGES = {
    "contactapi": ("bottle", "waitress", "peewee"),
    "FastAPI": ("fastapi", "uvicorn", "sqlalchemy"),
    "Flask": ("flask", "gunicorn", "peewee"),
}
VERSIONS = """
import sqlite3, sys
from importlib.metadata import version
print(f"SQLite {sqlite3.sqlite_version}")
for name in sys.argv[1:]:
    print(name, version(name))
"""


def make_python(requirements: Path) -> tuple:
    """(a Python with its own packages, kept in a cache folder; the names in PACKAGES
    that it can serve). Raises Skipped when contactapi's own are not to be had."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    folder = cache / "contactapi-bench" / f"venv-{version}"
    python = folder / "bin" / "python"
    if not python.exists():
        make = [sys.executable, "-m", "venv", str(folder)]
        if subprocess.run(make, capture_output=True, timeout=120).returncode:
            raise Skipped(f"no virtual environment can be made in {folder}")
    pinned = ["-r", str(requirements)] if requirements.exists() else []
    for name, packages in PACKAGES.items():
        if name == "contactapi" and pinned:
            install(python, pinned)
        elif not imports(python, packages):
            install(python, packages)
    able = {name for name, packages in PACKAGES.items() if imports(python, packages)}
    if "contactapi" not in able:
        raise Skipped("bottle, waitress and peewee cannot be installed")
    return python, able


def install(python: Path, what: tuple) -> None:
    """Try to; whether it went well is for `imports` to say."""
    command = [python, "-m", "pip", "install", "-q", *what]
    try:
        subprocess.run(command, capture_output=True, timeout=300)
    except subprocess.TimeoutExpired:
        pass


def imports(python: Path, packages: tuple) -> bool:
    command = [python, "-c", f"import {', '.join(packages)}"]
    return subprocess.run(command, capture_output=True, timeout=60).returncode == 0


def python_start(python: Path) -> float:
    """The seconds that Python itself takes to start and to end."""
    times = []
    for _ in range(9):
        begun = time.monotonic()
        subprocess.run([python, "-c", "pass"], env=clean_environ(), timeout=60)
        times.append(time.monotonic() - begun)
    return statistics.median(times)


@contextlib.contextmanager
def in_memory(paths: list) -> Iterator[str]:
    """Within, these files stay in the page cache, as they do where memory is to spare:
    some hosts take a virtual machine's back within seconds. What is said of it."""
    libc = ctypes.CDLL(None)
    number, size_t = ctypes.c_int, ctypes.c_size_t
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, size_t, *(number,) * 3, ctypes.c_long)
    libc.mlock.argtypes = libc.munmap.argtypes = (ctypes.c_void_p, size_t)
    held = []
    for path in paths:
        size = path.stat().st_size
        with open(path, "rb") as file:
            how = (mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0)
            held.append((libc.mmap(None, size, *how), size))
    locked = sum(libc.mlock(*part) == 0 for part in held) == len(held)
    try:
        yield "are locked in the page cache" if locked else "cannot be locked in memory"
    finally:
        for part in held:
            libc.munmap(*part)


def described(python: Path, able: set, folder: Path) -> list:
    """Lines on the machine and on what runs on it."""
    names = sorted({each for name in able for each in PACKAGES[name]})
    command = [python, "-c", VERSIONS, *names]
    versions = subprocess.run(command, capture_output=True, text=True, timeout=60)
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True, timeout=60)
    packages = ", ".join(versions.stdout.splitlines())
    kernel = ".".join(platform.release().split(".")[:2])
    load, sync = os.getloadavg()[0], sync_time(folder) * 1e3
    return [
        f"{os.cpu_count()} × {processor()}, {platform.system()} {kernel}",
        f"Python {platform.python_version()}, {packages}, {wrk.stdout.split(' [')[0]}",
        f"load {load:.2f} before the start; a sync of 4 KB takes {sync:.2f} ms",
        time.strftime("measured on %Y-%m-%d", time.gmtime()),
    ]


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def sync_time(folder: Path) -> float:
    """The median seconds of an fdatasync after 4 KB more."""
    times = []
    with open(folder / "sync", "wb") as file:
        for _ in range(50):
            file.write(bytes(4096))
            file.flush()
            begun = time.monotonic()
            os.fdatasync(file.fileno())
            times.append(time.monotonic() - begun)
    (folder / "sync").unlink()
    return statistics.median(times)
