"""deploy/contactapi.service and .socket, as systemd itself reads and judges them.

Needs `systemd-analyze` on the PATH; no systemd need run.
"""

import configparser
import re
import subprocess
import sys
from pathlib import Path

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
EXPOSURE = 1.5  # of 10: what is left is the network, which it is for


def analyze(*arguments):
    done = subprocess.run(
        ["systemd-analyze", *map(str, arguments)], capture_output=True, text=True
    )
    return done.stdout + done.stderr


def test_the_service_is_hardly_exposed():
    report = analyze("security", "--offline=true", DEPLOY / "contactapi.service")
    level = re.search(r"Overall exposure level for \S+: ([\d.]+)", report)
    assert float(level[1]) <= EXPOSURE, report


def test_the_units_can_be_read(tmp_path):
    for name in ("contactapi.service", "contactapi.socket"):
        text = (DEPLOY / name).read_text()
        text = text.replace("/opt/contactapi/.venv/bin/python", sys.executable)
        (tmp_path / name).write_text(text)
    assert analyze("verify", *sorted(tmp_path.iterdir())) == ""


def test_the_socket_listens_where_the_proxies_look():
    unit = configparser.ConfigParser()
    unit.read(DEPLOY / "contactapi.socket")
    address = unit["Socket"]["ListenStream"]
    for name in ("nginx.conf", "Caddyfile"):
        assert address in (DEPLOY / name).read_text()
