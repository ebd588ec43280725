"""The official library of ALTCHA's protocol solves and verifies our challenges."""

import hmac
import time

import altcha
import pytest

from client import ADA, PAGE


@pytest.fixture
def key(api):
    api.clock.now = time.time()  # the library has a clock of its own
    return api.key("publishable", captcha="altcha")


def test_altchas_library_solves_our_challenge(api, key):
    made = api.get(f"/f/{key}/challenge", key=None).json
    challenge = altcha.Challenge.from_dict(made)
    payload = altcha.Payload(challenge, altcha.solve_challenge(challenge))
    body = {**ADA, "altcha": payload.to_base64()}
    assert api.post(body, key=key, headers=PAGE).status_int == 201


def test_altchas_library_verifies_what_we_sign(api, key):
    made = api.get(f"/f/{key}/challenge", key=None).json
    challenge = altcha.Challenge.from_dict(made)
    secret = api.services.store.secret(b"altcha")
    secret = hmac.digest(secret, api.ref(key).encode(), "sha256")
    right = altcha.solve_challenge(challenge)
    assert altcha.verify_solution(altcha.Payload(challenge, right), secret).verified
    wrong = altcha.Solution(right.counter + 1, right.derived_key)
    assert not altcha.verify_solution(altcha.Payload(challenge, wrong), secret).verified
