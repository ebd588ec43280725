"""The port can be systemd's: then nobody is refused while the server restarts."""

import socket
import subprocess
import sys

import pytest

from processes import PATIENCE, Server, Wire, request_bytes

# What systemd does for a unit with a socket: the socket is descriptor 3, and the
# environment says so and whom it is for.
HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid() + int(sys.argv[2])))
os.execv(sys.argv[3], sys.argv[3:])
"""


class Activated(Server):
    """A server that is handed its port; `stray` makes it another process's."""

    def __init__(self, folder, stray=0):
        super().__init__(folder)
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=1024)
        self.stray = stray

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


@pytest.fixture
def activated(tmp_path):
    server = Activated(tmp_path)
    yield server
    server.kill()


def test_who_connects_while_the_server_restarts_waits_and_is_answered(activated):
    activated.start()
    activated.stop()
    with Wire(activated.port) as waiting:
        waiting.send(request_bytes("POST", "/v1/contacts", {"email": "eva@b.example"}))
        activated.start()
        assert waiting.read().status == 201
    activated.stop()


def test_the_start_line_names_the_port_that_was_handed_over(activated):
    activated.env["PORT"] = "1"
    activated.start()
    activated.stop()
    assert f"listens on http://127.0.0.1:{activated.port},".encode() in activated.output


def test_a_socket_that_is_meant_for_another_process_is_left_alone(tmp_path):
    server = Activated(tmp_path, stray=1)
    with server.listener:
        done = subprocess.run(
            server.command,
            env=server.env,
            pass_fds=server.pass_fds,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    assert done.returncode == 1
    assert f"port {server.port} cannot be listened on" in done.stderr
