"""Captchas (CONTRACT section 8): `altcha`, which a visitor's browser solves and this
process looks at, and `service`, which asks the siteverify address of Turnstile,
hCaptcha, reCAPTCHA or Cap."""

import base64
import hashlib
import hmac
import queue
import re
import secrets
import threading
from typing import Any, NamedTuple, Optional
from urllib.parse import urlencode

import peewee
from bottle import request

from contactapi import (
    CAPTCHA_FIELDS,
    HELD,
    SPAM,
    Api,
    ApiError,
    Caller,
    Config,
    Gate,
    InvalidRequest,
    Post,
    RateLimited,
    Services,
    Setting,
    Store,
    UnknownForm,
    Verdict,
    a_url,
    dump,
    go_to,
    log,
    origin_allowed,
    parse_object,
)
from extras.outgoing import Said, Unanswered, host_of, post

# fmt: off
SETTINGS = {
    "CONTACTAPI_CAPTCHA_URL": Setting(a_url, None,
        "where a captcha's service is asked: its siteverify address"),
    "CONTACTAPI_CAPTCHA_SECRET": Setting(str, None, "its secret"),
}
# fmt: on


class Spent(peewee.Model):
    """A captcha's challenge that was used: the second of its expiry, and its nonce."""

    challenge = peewee.TextField(primary_key=True)

    class Meta:
        without_rowid = True


MODELS = (Spent,)


class CaptchaFailed(ApiError):
    status, code = 403, "captcha_failed"


def setup(app: Api, services: Services, config: Config) -> None:
    altcha = Altcha(services.store, services.submissions.clock)
    services.submissions.checks["altcha"] = altcha.check
    add_challenge(app, altcha)
    if config.captcha_url:
        service = Service(app, config)
        services.submissions.checks["service"] = service.check


# -- in this process


class Solution(NamedTuple):
    """What of a token is looked at; the rest is ours to know."""

    nonce: str
    salt: str
    signature: str
    derived_key: str
    expires_at: int
    counter: int


class Altcha:
    """Proof of work in version 2 of ALTCHA's protocol, as altcha.org's widget and
    libraries speak it: the counter whose key, derived from nonce and counter, begins
    with KEY_PREFIX. The mean is 256 derivations: some tenths of a second in a browser,
    where one costs this process about a millisecond."""

    ALGORITHM, COST, KEY_LENGTH, KEY_PREFIX = "PBKDF2/SHA-256", 5000, 32, "00"
    SECONDS = 600

    def __init__(self, store: Store, clock: Any):
        self.store, self.clock = store, clock
        self.secret = store.secret(b"altcha")

    def challenge(self, ref: str) -> dict:
        """A new one for the forms of this key; nothing of it is stored."""
        expires_at = int(self.clock()) + self.SECONDS
        return self.signed(
            ref, secrets.token_hex(16), secrets.token_hex(16), expires_at
        )

    def signed(self, ref: str, nonce: str, salt: str, expires_at: int) -> dict:
        parameters = {  # sorted, as what signs them has them
            "algorithm": self.ALGORITHM,
            "cost": self.COST,
            "expiresAt": expires_at,
            "keyLength": self.KEY_LENGTH,
            "keyPrefix": self.KEY_PREFIX,
            "nonce": nonce,
            "salt": salt,
        }
        key = hmac.digest(self.secret, ref.encode(), "sha256")
        signature = hmac.digest(key, dump(parameters).encode(), "sha256").hex()
        return {"parameters": parameters, "signature": signature}

    def check(self, caller: Caller, post: Post) -> Verdict:
        said = read_solution(post.tokens.get("altcha"))
        ours = self.signed(caller.ref, said.nonce, said.salt, said.expires_at)
        if not hmac.compare_digest(ours["signature"], said.signature):
            raise CaptchaFailed("this captcha was not made for this form; reload it")
        if said.expires_at <= self.clock():
            raise CaptchaFailed("this captcha has expired; solve a new one")
        if self.derived(said) != said.derived_key:
            raise CaptchaFailed("this captcha is not solved; solve it again")
        return Verdict(spend=lambda: self.spend(said))

    def derived(self, said: Solution) -> str:
        """The key in hexadecimal digits; "" where it proves no work."""
        password = bytes.fromhex(said.nonce) + said.counter.to_bytes(4, "big")
        salt = bytes.fromhex(said.salt)
        key = hashlib.pbkdf2_hmac("sha256", password, salt, self.COST, self.KEY_LENGTH)
        return key.hex() if key.hex().startswith(self.KEY_PREFIX) else ""

    def spend(self, said: Solution) -> None:
        """Inside the transaction that stores what it came with."""
        challenge = f"{said.expires_at} {said.nonce}"
        if self.store.row("SELECT 1 FROM spent WHERE challenge = ?", (challenge,)):
            raise CaptchaFailed("this captcha was used before; solve a new one")
        self.store.run("INSERT INTO spent (challenge) VALUES (?)", (challenge,))
        past = str(int(self.clock()) - self.SECONDS)
        self.store.run("DELETE FROM spent WHERE challenge < ?", (past,))


UNSOLVED = (
    "this form needs a solved captcha: it takes JavaScript and a secure connection; "
    "reload the page, wait until it is checked, and send again"
)
HEX = re.compile("(?:[0-9a-f]{2})+")


def read_solution(token: Any) -> Solution:
    """CaptchaFailed for what is none."""
    try:
        said = parse_object(base64.b64decode(token[:4096], validate=True))
        parameters, found = said["challenge"]["parameters"], said["solution"]
        solution = Solution(
            parameters["nonce"],
            parameters["salt"],
            said["challenge"]["signature"],
            found["derivedKey"],
            parameters["expiresAt"],
            found["counter"],
        )
        good = all(map(HEX.fullmatch, solution[:4]))
        good = good and all(type(n) is int and 0 <= n < 2**32 for n in solution[4:])
    except (ValueError, TypeError, LookupError, InvalidRequest):
        good = False
    if not good:
        raise CaptchaFailed(UNSOLVED)
    return solution


def add_challenge(app: Api, altcha: Altcha) -> None:
    @app.get("/f/<key>/challenge")
    def get_challenge(key: str) -> str:
        environ = request.environ
        environ["contactapi.counted"] = True
        caller = app.gate.keys.find(key)
        if caller is None or caller.type != "publishable":
            app.gate.refuse_stranger(environ, UnknownForm())
        count_challenge(app.gate, environ)
        return dump(altcha.challenge(caller.ref))


def count_challenge(gate: Gate, environ: dict) -> None:
    """A window of its own for each address: who reads a page takes none of the posts
    that may come from there."""
    if gate.limited:
        standing = gate.by_address.count(f"challenge {gate.address(environ)}")
        if not standing.allowed:
            raise RateLimited(standing.seconds)


# -- by a service


class Service:
    """The siteverify address that all of them have: POST secret and response, JSON with
    success, maybe hostname and score. No visitor's address is passed on."""

    SECONDS = 5

    def __init__(self, app: Api, config: Config):
        self.app, self.secret = app, config.captcha_secret
        self.url = config.captcha_url
        # At most half of the long lane's threads wait for it.
        self.free = threading.Semaphore(max(2, config.threads - 1) // 2)

    def check(self, caller: Caller, post: Post) -> Verdict:
        token = token_of(post.tokens)
        go_to("long")
        said = self.ask(token)
        if said is None:
            return Verdict(HELD, "captcha_unavailable")
        if not said["success"]:
            raise CaptchaFailed("the captcha's service refused it; solve a new one")
        if not is_on(caller.domains + self.app.gate.home, said.get("hostname")):
            raise CaptchaFailed("this captcha was solved on another site")
        return Verdict(SPAM, "score") if self.is_low(said.get("score")) else Verdict()

    def is_low(self, score: Any) -> bool:
        """hCaptcha's score is the risk, everybody else's the trust."""
        if not isinstance(score, (int, float)):
            return False
        risk = host_of(self.url).endswith("hcaptcha.com")
        return score > 0.5 if risk else score < 0.5

    def ask(self, token: str) -> Optional[dict]:
        """What it says within 5 s of the request's arrival, so that one that hangs
        makes no queue; None where that is nothing, or no thread is free."""
        waited = self.app.clock() - request.environ["contactapi.began"]
        if waited >= self.SECONDS or not self.free.acquire(blocking=False):
            return None
        answers, seconds = queue.SimpleQueue(), self.SECONDS - waited
        told = token, seconds, answers
        threading.Thread(target=self.talk, args=told, daemon=True).start()
        try:
            return answers.get(timeout=seconds)
        except queue.Empty:
            log.warning("the captcha's service did not answer in time")
            return None

    def talk(self, token: str, seconds: float, answers: queue.SimpleQueue) -> None:
        """In a thread of its own: its name is looked up for as long as that takes."""
        form = urlencode({"secret": self.secret, "response": token}).encode()
        media, said = {"Content-Type": "application/x-www-form-urlencoded"}, None
        try:
            said = usable(post(self.url, form, media, anywhere=True, seconds=seconds))
        except Unanswered as err:
            log.warning("the captcha's service cannot be asked: %s", err)
        finally:  # whatever it is, the post is kept
            self.free.release()
            answers.put(said)


def token_of(tokens: dict) -> str:
    """The first of the services' fields that has one."""
    sent = [tokens[name] for name in CAPTCHA_FIELDS["service"] if tokens.get(name)]
    if not sent or not isinstance(sent[0], str) or len(sent[0]) > 8192:
        raise CaptchaFailed(UNSOLVED)
    return sent[0]


def usable(answer: Said) -> Optional[dict]:
    """The answer, None for one that says nothing of the visitor: its own failure, or
    that our secret is none."""
    try:
        said = parse_object(answer.body or b"")
    except InvalidRequest:
        said = {}
    codes = str(said.get("error-codes", ""))
    of_ours = "secret" in codes or "internal-error" in codes
    success = said.get("success")
    fits = success is False or (success is True and answer.status < 300)
    if answer.status >= 500 or of_ours or not fits:
        message = "the captcha's service answered %d: nothing to go by"
        log.warning(message, answer.status)
        return None
    return said


def is_on(domains: tuple, hostname: Any) -> bool:
    """Whether that is one of them, on any port; true where none is said."""
    hosts = tuple(re.sub(":[0-9]+$", "", domain) for domain in domains)
    return not hostname or origin_allowed(hosts, f"https://{hostname}")
