"""The port can be systemd's: then nobody is refused while the server restarts."""

import subprocess

import pytest

from processes import PATIENCE, Held, Wire, request_bytes


@pytest.fixture
def activated(tmp_path):
    server = Held(tmp_path)
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
    server = Held(tmp_path)
    server.stray = 1
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
