"""The command line in processes of its own: wrong usage, keys."""

import contextlib
import json
import re
import sqlite3

import pytest

from client import one_line
from processes import (
    PATIENCE,
    REVOKED_WITHIN,
    SECRET,
    assert_error,
    environment,
    files_in,
    free_port,
    listed_keys,
    make_key,
    run,
    until,
)

# -- wrong usage


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("CONTACTAPI_RATE_LIMITS", "CONTACTAPI_RATE_LIMIT"),
        ("CONTACTAPI_SECERT_KEY", "CONTACTAPI_SECRET_KEY"),
        ("CONTACTAPI_TRUST_PROXY", "CONTACTAPI_TRUSTED_PROXY"),
        ("CONTACTAPI_MAXBODY", "CONTACTAPI_MAX_BODY"),
    ],
)
def test_an_unknown_variable_is_named_with_its_nearest_but_never_its_value(
    tmp_path, name, nearest
):
    env = environment(tmp_path, **{name: "s3cr3t-v4lue"})
    ran = run(env, "serve", "--port", free_port())
    assert (ran.returncode, one_line(ran.stderr)) == (1, True), ran
    assert re.search(rf"\b{name}\b", ran.stderr)
    assert re.search(rf"\b{nearest}\b", ran.stderr)
    assert "s3cr3t-v4lue" not in ran.stderr + ran.stdout
    assert files_in(tmp_path) == []


def test_variables_that_container_platforms_inject_are_let_through(serve):
    server = serve(
        CONTACTAPI_PORT="tcp://10.0.0.1:8080",
        CONTACTAPI_PORT_8080_TCP="tcp://10.0.0.1:8080",
        CONTACTAPI_PORT_8080_TCP_ADDR="10.0.0.1",
        CONTACTAPI_SERVICE_HOST="10.0.0.1",
        CONTACTAPI_SERVICE_PORT="8080",
    )
    assert server.ask("GET", "/healthz").status == 200
    server.stop()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty-thousand"),
        ("PORT", "808080"),
        ("DATABASE_URL", "mysql://me:p4ssw0rd@host/db"),
        ("CONTACTAPI_SECRET_KEY", "ck_secret_short"),
        ("CONTACTAPI_SECRET_KEY", "no-prefix-but-more-than-24-characters-long"),
        ("CONTACTAPI_RATE_LIMIT", "a-hundred"),
        ("CONTACTAPI_RATE_LIMIT", "100/sixty"),
        ("CONTACTAPI_RATE_LIMIT", "-100/-60"),
        ("CONTACTAPI_MAX_BODY", "64KiB-or-so"),
        ("CONTACTAPI_MAX_BODY", "-65537"),
        ("CONTACTAPI_THREADS", "eight-or-so"),
        ("CONTACTAPI_THREADS", "-88"),
        ("CONTACTAPI_PROXY_HOPS", "one-or-two"),
        ("CONTACTAPI_LOG", "xmlish"),
        ("CONTACTAPI_RETENTION_DAYS", "a-fortnight"),
        ("CONTACTAPI_HISTORY_DAYS", "a-year-or-so"),
        ("CONTACTAPI_CALLS_PER_DAY", "a-hundred-or-so"),
    ],
)
def test_a_value_that_cannot_be_read_stops_the_start(tmp_path, name, value):
    env = environment(tmp_path, **{name: value})
    ran = run(env, "serve")
    assert (ran.returncode, one_line(ran.stderr)) == (1, True), ran
    assert re.search(rf"\b{name}\b", ran.stderr)
    assert value not in ran.stderr + ran.stdout
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["keys", "create", "--type", "publishable"],
        ["keys", "create", "--type", "restricted", "--permission", "contacts:reed"],
        ["keys", "create", "--type", "imaginary"],
        ["keys", "create"],
        ["keys"],
        ["keys", "revoke"],
        ["serve", "--port", "eighty"],
        ["serve", "--colour", "red"],
        ["swerve"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2_and_makes_nothing(tmp_path, arguments):
    ran = run(environment(tmp_path), *arguments)
    assert (ran.returncode, ran.stdout) == (2, ""), ran
    assert one_line(ran.stderr), ran.stderr
    assert listed_keys(environment(tmp_path)) == []


@pytest.mark.parametrize(
    "arguments",
    [["revoke"], ["update", "--name", "new"]],
    ids=["revoke", "update"],
)
@pytest.mark.parametrize(
    "key_id", ["key_00000000000000000000000000", "nonsense", "env"]
)
def test_an_unknown_key_id_is_one_line_and_exit_1(tmp_path, arguments, key_id):
    env = environment(tmp_path)
    make_key(env, "--type", "secret")
    ran = run(env, "keys", arguments[0], key_id, *arguments[1:])
    assert (ran.returncode, ran.stdout) == (1, ""), ran
    assert one_line(ran.stderr), ran.stderr


def test_the_environments_key_cannot_be_revoked_or_changed(tmp_path):
    env = environment(tmp_path, CONTACTAPI_SECRET_KEY=SECRET)
    assert [key["id"] for key in listed_keys(env)] == ["env"]
    for arguments in (["revoke", "env"], ["update", "env", "--name", "new"]):
        ran = run(env, "keys", *arguments)
        assert (ran.returncode, one_line(ran.stderr)) == (1, True), ran


def test_version_prints_the_version(tmp_path):
    ran = run(environment(tmp_path), "--version")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert re.fullmatch(r"(contactapi )?\d+\.\d+(\.\d+)?\S*\n", ran.stdout)
    assert files_in(tmp_path) == []


# -- keys


@pytest.mark.parametrize(
    ("arguments", "prefix"),
    [
        (["--type", "secret"], "ck_secret_"),
        (["--type", "publishable", "--domain", "example.com"], "ck_pub_"),
        (["--type", "restricted", "--permission", "contacts:read"], "ck_live_"),
    ],
    ids=["secret", "publishable", "restricted"],
)
def test_keys_create_prints_the_token_alone_and_stores_it_nowhere(
    tmp_path, arguments, prefix
):
    env = environment(tmp_path)
    made = run(env, "keys", "create", "--name", "mine", *arguments)
    assert (made.returncode, made.stderr) == (0, "")
    assert re.fullmatch(rf"{prefix}[A-Za-z0-9_-]{{22,}}\n", made.stdout)
    token = made.stdout.strip()
    random_part = token.removeprefix(prefix)
    for path in files_in(tmp_path):
        assert random_part.encode() not in path.read_bytes()


def test_keys_list_shows_a_hint_and_never_a_token(tmp_path):
    env = environment(tmp_path)
    tokens = [
        make_key(env, "--name", "backend", "--type", "secret"),
        make_key(env, "--name", "site", "--type", "publishable", "--domain", "https://X.org/a"),
        make_key(
            env, "--name", "reader", "--type", "restricted",
            "--permission", "contacts:read", "--permission", "companies:read",
        ),
    ]  # fmt: skip
    listed = listed_keys(env)
    by_name = {key["name"]: key for key in listed}
    assert {name: key["type"] for name, key in by_name.items()} == {
        "backend": "secret",
        "site": "publishable",
        "reader": "restricted",
    }
    assert by_name["site"]["domains"] == ["x.org"]
    assert by_name["reader"]["permissions"] == ["contacts:read", "companies:read"]
    for token, name in zip(tokens, ("backend", "site", "reader"), strict=True):
        hint = by_name[name]["hint"]
        assert hint.startswith(token.split("_")[0] + "_" + token.split("_")[1])
        assert hint.endswith(token[-4:])
        assert len(hint) < 24
    for shown in (json.dumps(listed), run(env, "keys", "list").stdout):
        assert "backend" in shown
        assert not any(token in shown for token in tokens)


def key_id(env, name):
    [found] = [key["id"] for key in listed_keys(env) if key["name"] == name]
    return found


def test_a_new_key_works_at_once_and_a_revoked_one_within_5_s_no_more(serve):
    server = serve()
    token = make_key(server.env, "--type", "secret", "--name", "short-lived")
    assert server.ask("GET", "/v1/contacts", key=token).status == 200
    assert (
        run(server.env, "keys", "revoke", key_id(server.env, "short-lived")).returncode
        == 0
    )
    refused = until(
        lambda: server.ask("GET", "/v1/contacts", key=token).status == 401,
        REVOKED_WITHIN,
    )
    assert refused
    assert "short-lived" not in [key["name"] for key in listed_keys(server.env)]
    server.stop()
    server.start()
    assert_error(server.ask("GET", "/v1/contacts", key=token), 401, code="unauthorized")


def test_a_key_works_at_once_though_it_was_refused_before_it_was_made(serve, tmp_path):
    server = serve()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    token = make_key(environment(elsewhere), "--type", "secret")
    answer = server.ask("GET", "/v1/contacts", key=token)
    assert_error(answer, 401, code="unauthorized")
    with contextlib.closing(sqlite3.connect(server.database, timeout=PATIENCE)) as db:
        db.execute("ATTACH ? AS elsewhere", (str(elsewhere / "contacts.db"),))
        db.execute("INSERT INTO main.key SELECT * FROM elsewhere.key")
        db.commit()
    assert server.ask("GET", "/v1/contacts", key=token).status == 200


def test_new_domains_from_the_command_line_take_effect_within_5_s(serve):
    server = serve()
    arguments = ["--type", "publishable", "--domain", "old.example", "--name", "site"]
    token = make_key(server.env, *arguments)

    def posted_from(origin):
        body, headers = {"email": "a@x.org"}, {"Origin": origin}
        return server.ask("POST", "/v1/contacts", body, headers, key=token).status

    assert posted_from("https://old.example") == 201
    assert posted_from("https://new.example") == 403
    changed = run(
        server.env,
        "keys",
        "update",
        key_id(server.env, "site"),
        "--domain",
        "new.example",
    )
    assert (changed.returncode, changed.stderr) == (0, "")
    assert until(lambda: posted_from("https://new.example") == 201, REVOKED_WITHIN)
    assert until(lambda: posted_from("https://old.example") == 403, REVOKED_WITHIN)


def test_keys_create_makes_the_workspace_that_it_names(serve):
    server = serve()
    token = make_key(server.env, "--type", "secret", "--workspace", "other")
    made = server.ask("POST", "/v1/contacts", {"email": "a@x.org"}, key=token)
    assert made.status == 201
    url = f"/v1/contacts/{made.json['id']}"
    assert server.ask("GET", url, key=token).status == 200
    assert_error(server.ask("GET", url), 404, code="not_found")
    assert server.ask("GET", "/v1/contacts").json["total"] == 0
