"""Apps that send mail, and the box that it comes into."""

import pytest

pytest.register_assert_rewrite("postbox")

from postbox import MAIL, Postbox  # noqa: E402


@pytest.fixture
def box():
    with Postbox() as box:
        yield box


@pytest.fixture
def mailing(make, box):
    """Makes apps that send mail to the box; `client.drain()` sends what is due and
    returns it."""

    def make_client(**settings):
        url = f"smtp://127.0.0.1:{box.port}"
        client = make(**{"CONTACTAPI_SMTP_URL": url, **MAIL, **settings})
        client.box = box

        def drain(most=1000):
            for _ in range(most):
                if not client.services.outbox.step():
                    return box.take()
            raise AssertionError("the outbox does not come to rest")

        client.drain = drain
        return client

    return make_client


@pytest.fixture
def mails(mailing):
    return mailing()
