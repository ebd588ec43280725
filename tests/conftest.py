"""What every suite has beside the client: doubles and real processes."""

import pytest

pytest.register_assert_rewrite("doubles", "processes")

from doubles import Receiver, TwilioDouble  # noqa: E402
from processes import Server  # noqa: E402


@pytest.fixture
def twilio():
    with TwilioDouble() as double:
        yield double


@pytest.fixture
def receiver():
    with Receiver() as double:
        yield double


@pytest.fixture
def serve(tmp_path):
    """Makes started servers, each over a folder of its own unless told which."""
    servers = []

    def start(folder=None, preexec_fn=None, **settings):
        server = Server(folder or tmp_path / f"data{len(servers)}", **settings)
        servers.append(server)
        return server.start(preexec_fn=preexec_fn)

    yield start
    for server in servers:
        server.kill()
