"""Mail from real processes: what a crash may and may not do, and the command."""

import contextlib
import shutil
import sqlite3
import threading

import pytest

from client import PAGE
from postbox import MAIL, OWNER, Postbox, recipients, text_of
from processes import SCRIPT, environment, free_port, make_key, run, until

FORM = {"email": "ada@example.com", "message": "Hello"}


def settings_for(port, **more):
    return {**MAIL, "CONTACTAPI_SMTP_URL": f"smtp://127.0.0.1:{port}", **more}


def form_key(server, **settings):
    body = {"type": "publishable", "domains": ["example.com"], **settings}
    return server.ask("POST", "/api/api-keys", body).json["data"]["key"]


def submit(server, key, **fields):
    body = {**FORM, **fields}
    answer = server.ask("POST", f"/f/{key}", body, headers=PAGE, key=None)
    assert answer.status == 200, answer


def let_the_lease_lapse(server):
    """Puts what a server that stands still was sending into the past."""
    with contextlib.closing(sqlite3.connect(server.database, timeout=60)) as db, db:
        db.execute("UPDATE delivery SET due_at = 1 WHERE state = 'sending'")
        db.execute("UPDATE endpoint SET due_at = 1, lapses_at = 0, free_at = 0")


class Waiting(Postbox):
    """Holds its answer to DATA back until it is told."""

    def __init__(self):
        self.taking, self.may_answer = threading.Event(), threading.Event()
        super().__init__()

    async def handle_DATA(self, server, session, envelope):
        said = await super().handle_DATA(server, session, envelope)
        self.taking.set()
        await server.loop.run_in_executor(None, self.may_answer.wait, 60)
        return said


def test_a_server_killed_between_data_and_its_answer_sends_it_again(serve):
    with Waiting() as box:
        server = serve(**settings_for(box.port))
        submit(server, form_key(server, notify=[OWNER]))
        assert box.taking.wait(60)
        server.kill()
        box.may_answer.set()
        let_the_lease_lapse(server)
        server.start()
        assert until(lambda: len(box.mails) == 2)
        first, second = box.mails
        assert first["Message-ID"] == second["Message-ID"]
        assert text_of(first) == text_of(second)
        server.stop()


def test_mail_waits_over_an_outage_and_a_restart(serve):
    port = free_port()
    server = serve(**settings_for(port))
    key = form_key(server, notify=[OWNER, "second@example.com"])
    submit(server, key)
    server.kill()
    let_the_lease_lapse(server)
    server.start()
    submit(server, key, message="Again")
    server.stop()
    with Postbox(port) as box:
        server.start()
        assert until(lambda: len(box.mails) == 4)
        assert recipients(box.mails) == sorted([OWNER, "second@example.com"] * 2)
        server.stop()


def test_two_processes_on_one_database_send_each_mail_once(serve, tmp_path):
    with Postbox() as box:
        folder = tmp_path / "shared"
        first = serve(folder, **settings_for(box.port))
        second = serve(folder, **settings_for(box.port))
        key = form_key(first, notify=[OWNER])
        for number in range(20):
            submit((first, second)[number % 2], key, message=str(number))
        assert until(lambda: len(box.mails) == 20)
        first.stop()
        second.stop()
        assert len({mail["Message-ID"] for mail in box.mails}) == len(box.mails) == 20


def test_a_mail_server_that_hangs_slows_no_request_and_no_stop(serve):
    with Waiting() as box:
        server = serve(**settings_for(box.port))
        key = form_key(server, notify=[OWNER])
        submit(server, key)
        assert box.taking.wait(60)
        for number in range(50):
            submit(server, key, message=str(number))
        assert server.ask("GET", "/v1/submissions").json["total"] == 51
        server.stop()
        box.may_answer.set()


# -- the command


def test_the_command_sends_a_test_mail_and_prints_the_servers_words(tmp_path):
    with Postbox() as box:
        env = environment(tmp_path, **settings_for(box.port))
        ran = run(env, "mail", "ada@example.com", cwd=tmp_path)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout == "250 2.0.0 Ok: queued as 1F2E3D\n"
        (mail,) = box.mails
        assert (mail.recipient, mail["Subject"]) == (
            "ada@example.com",
            "A test of contactapi",
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "settings,arguments,status,said",
    [
        ({}, ["ada@example.com"], 1, "set CONTACTAPI_SMTP_URL and CONTACTAPI_MAIL_FR"),
        (
            {"CONTACTAPI_SMTP_URL": "smtp://x"},
            ["a@example.com"],
            1,
            "set CONTACTAPI_MA",
        ),
        (settings_for(1), ["nobody"], 2, "ADDRESS"),
        (settings_for(1), [], 2, "ADDRESS"),
        (
            settings_for(1),
            ["ada@example.com"],
            1,
            "the mail was not taken: the mail se",
        ),
    ],
)
def test_what_is_missing_for_a_test_mail_is_one_line(
    settings, arguments, status, said, tmp_path
):
    ran = run(environment(tmp_path, **settings), "mail", *arguments, cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (status, "")
    assert ran.stderr.count("\n") == 1 and said in ran.stderr, ran.stderr


def test_a_refusal_is_the_commands_exit_status(tmp_path):
    with Postbox() as box:
        box.answers["ada@example.com"] = "550 5.1.1 No such user"
        env = environment(tmp_path, **settings_for(box.port))
        ran = run(env, "mail", "ada@example.com", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == (
        "contactapi: the mail was not taken: 550 5.1.1 No such user\n"
    )


@pytest.mark.parametrize("missing", ["mail", "letters", "confirm", "smtp", "senders"])
def test_without_a_module_a_start_says_what_to_put_where(tmp_path, missing):
    env = environment(tmp_path, **settings_for(1))
    ran = run(env, "serve", "--port", "0", script=copied_without(missing, tmp_path))
    assert ran.returncode == 1 and ran.stderr.count("\n") == 1
    assert f"to send mail, put extras/{missing}.py beside" in ran.stderr


def copied_without(missing, folder):
    """contactapi.py with all extras but one."""
    extras = shutil.copytree(SCRIPT.with_name("extras"), folder / "alone" / "extras")
    (extras / f"{missing}.py").unlink()
    return shutil.copy(SCRIPT, folder / "alone" / "contactapi.py")


def test_a_publishable_key_made_on_the_command_line_names_who_is_told(serve):
    with Postbox() as box:
        server = serve(**settings_for(box.port))
        given = ["--type", "publishable", "--domain", "example.com", "--notify", OWNER]
        key = make_key(server.env, *given)
        submit(server, key)
        assert until(lambda: box.mails)
        assert recipients(box.mails) == [OWNER]
        server.stop()
