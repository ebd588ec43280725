"""What we send, verified by Standard Webhooks' own library and by the README."""

import json
import re
import subprocess
import time
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

import contactapi
from extras.endpoints import Webhooks

README = Path(contactapi.__file__).with_name("README.md").read_text(encoding="utf-8")


@pytest.fixture
def sent(api, receiver):
    """(the secrets, newest first, headers, body) of a post after a rotation, now."""
    api.clock.now = time.time()
    cli = contactapi.operator("cli", api.workspace)
    hooks, write = Webhooks(api.services), api.services.store.write
    hook = write(hooks.create(cli, {"url": receiver.url}))
    first = hook.secret
    second = write(hooks.update(cli, hook.ref, {"rotate": True})).secret
    api.post({"email": "ada@example.com", "name": "Zoë"})
    assert api.services.outbox.step()
    ((_, headers, body),) = receiver.requests
    return (second, first), headers, body


def example(name):
    """A block of code of the README."""
    return re.search(f"<!-- {name} -->\n```\\w+\n(.*?)```", README, re.DOTALL)[1]


def test_the_librarys_receiver_takes_what_we_send_with_either_secret(sent):
    secrets, headers, body = sent
    for secret in secrets:
        told = Webhook(secret).verify(body, headers)
        assert told["type"] == "contact.created" and told["data"]["name"] == "Zoë"


def test_the_librarys_receiver_refuses_what_was_changed(sent):
    (secret, _), headers, body = sent
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body.replace(b"ada", b"eve"), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + "A" * 32).verify(body, headers)


def in_python(secret, headers, body):
    names = {}
    exec(example("verify.py"), names)
    return names["is_ours"](secret, headers, body)


def in_javascript(secret, headers, body):
    script = example("verify.mjs") + (
        "\nconst [secret, headers, body] = JSON.parse(process.argv[1]);"
        "\nconsole.log(isOurs(secret, headers, Buffer.from(body)));"
    )
    given = json.dumps([secret, headers, body.decode()])
    command = ["node", "--input-type=module", "-e", script, given]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return {"true\n": True, "false\n": False}[ran.stdout]


@pytest.mark.parametrize("is_ours", [in_python, in_javascript])
def test_the_readmes_lines_tell_ours_from_others(sent, is_ours):
    secrets, headers, body = sent
    headers = {name.lower(): value for name, value in headers.items()}
    assert [is_ours(secret, headers, body) for secret in secrets] == [True, True]
    assert not is_ours(secrets[0], headers, body.replace(b"ada", b"eve"))
    assert not is_ours("whsec_" + "A" * 32, headers, body)
    old = {**headers, "webhook-timestamp": "1614265330"}
    assert not is_ours(secrets[0], old, body)
