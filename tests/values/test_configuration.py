"""Settings: what each variable may be."""

import os
import re

import pytest

from contactapi import Config, Mistake


def test_without_any_variable_the_defaults_of_the_contract_hold():
    config = Config.from_env({})
    assert (config.port, config.host) == (8080, "127.0.0.1")
    assert config.database_url == os.path.abspath("contacts.db")
    assert config.secret_key is None
    assert config.rate_limit == (100, 60)
    assert (config.max_body, config.threads) == (65536, 8)
    assert (config.trusted_proxy, config.proxy_hops) == (None, 1)
    assert config.log == "text"


def test_an_empty_variable_is_one_that_is_not_set():
    names = [name for name, _, _ in Config.table()]
    assert Config.from_env(dict.fromkeys(names, "")) == Config.from_env({})


@pytest.mark.parametrize(
    "variable, text, name, value",
    [
        ("PORT", "0", "port", 0),
        ("PORT", "65535", "port", 65535),
        ("CONTACTAPI_HOST", "::", "host", "::"),
        ("DATABASE_URL", "sqlite:////var/lib/c.db", "database_url", "/var/lib/c.db"),
        ("CONTACTAPI_SECRET_KEY", "ck_secret_" + "k" * 24, "secret_key", ...),
        ("CONTACTAPI_RATE_LIMIT", "5/1", "rate_limit", (5, 1)),
        ("CONTACTAPI_RATE_LIMIT", "off", "rate_limit", None),
        ("CONTACTAPI_MAX_BODY", "1048576", "max_body", 1048576),
        ("CONTACTAPI_THREADS", "16", "threads", 16),
        ("CONTACTAPI_PROXY_HOPS", "2", "proxy_hops", 2),
        ("CONTACTAPI_LOG", "json", "log", "json"),
    ],
)
def test_each_variable_is_read(variable, text, name, value):
    config = Config.from_env({variable: text, "PATH": "/bin", "HOME": "/root"})
    assert getattr(config, name) == (text if value is ... else value)


@pytest.mark.parametrize(
    "variable, value",
    [
        ("PORT", "eighty"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "٨٠"),
        ("PORT", "8080 "),
        ("DATABASE_URL", "contacts.db"),
        ("DATABASE_URL", "mysql://user:hunter2@host/name"),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "sqlite:///:memory:"),
        ("CONTACTAPI_SECRET_KEY", "ck_secret_" + "k" * 23),
        ("CONTACTAPI_SECRET_KEY", "ck_pub_" + "k" * 40),
        ("CONTACTAPI_SECRET_KEY", "hunter2"),
        ("CONTACTAPI_RATE_LIMIT", "100"),
        ("CONTACTAPI_RATE_LIMIT", "0/60"),
        ("CONTACTAPI_RATE_LIMIT", "100/0"),
        ("CONTACTAPI_RATE_LIMIT", "-1/60"),
        ("CONTACTAPI_RATE_LIMIT", "none"),
        ("CONTACTAPI_MAX_BODY", "64k"),
        ("CONTACTAPI_MAX_BODY", "0"),
        ("CONTACTAPI_THREADS", "0"),
        ("CONTACTAPI_THREADS", "many"),
        ("CONTACTAPI_TRUSTED_PROXY", "proxy.internal"),
        ("CONTACTAPI_TRUSTED_PROXY", "10.0.0.300"),
        ("CONTACTAPI_PROXY_HOPS", "0"),
        ("CONTACTAPI_LOG", "yaml"),
    ],
)
def test_a_value_that_cannot_be_read_is_named_but_not_shown(variable, value):
    with pytest.raises(Mistake) as caught:
        Config.from_env({variable: value})
    message = str(caught.value)
    assert re.search(rf"\b{variable}\b", message) and "\n" not in message
    assert not re.search(rf"(?<![\w/]){re.escape(value)}(?![\w/])", message)
    assert caught.value.status == 1


@pytest.mark.parametrize(
    "name, nearest",
    [
        ("CONTACTAPI_SECRETKEY", "CONTACTAPI_SECRET_KEY"),
        ("CONTACTAPI_RATELIMIT", "CONTACTAPI_RATE_LIMIT"),
        ("CONTACTAPI_MAXBODY", "CONTACTAPI_MAX_BODY"),
        ("CONTACTAPI_THREAD", "CONTACTAPI_THREADS"),
        ("CONTACTAPI_TRUST_PROXY", "CONTACTAPI_TRUSTED_PROXY"),
        ("CONTACTAPI_LOGS", "CONTACTAPI_LOG"),
    ],
)
def test_an_unknown_variable_names_the_nearest_known_one(name, nearest):
    with pytest.raises(Mistake) as caught:
        Config.from_env({name: "hunter2"})
    message = str(caught.value)
    assert re.search(rf"\b{name}\b", message) and re.search(rf"\b{nearest}\b", message)
    assert "hunter2" not in message and "\n" not in message


@pytest.mark.parametrize(
    "name",
    [
        "CONTACTAPI_PORT",
        "CONTACTAPI_PORT_8080_TCP_ADDR",
        "CONTACTAPI_SERVICE_HOST",
        "CONTACTAPI_SERVICE_PORT_HTTP",
        "MYCONTACTAPI_PORT",
        "contactapi_nonsense",
    ],
)
def test_what_container_platforms_inject_is_let_be(name):
    assert Config.from_env({name: "tcp://10.0.0.1:8080"}) == Config.from_env({})


def test_every_setting_has_a_row_in_the_table_of_help():
    rows = {name: (default, about) for name, default, about in Config.table()}
    assert rows["PORT"][0] == "8080"
    assert rows["CONTACTAPI_RATE_LIMIT"][0] == "100/60"
    assert rows["CONTACTAPI_SECRET_KEY"][0] == "none"
    assert all(about for _, about in rows.values())
