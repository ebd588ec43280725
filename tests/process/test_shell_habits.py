"""What people do at a shell: close a pipe, look at files, leave values empty."""

import json
import os
import stat
import subprocess
import sys

import pytest

import contactapi
from processes import SCRIPT, environment, make_key, run


def closed_after(line_count, env, *arguments):
    """(exit status, standard error) of a command whose reader takes so many lines of
    what it prints and closes the pipe."""
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), *arguments],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        for _ in range(line_count):
            process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read().decode()
    return process.returncode, said


@pytest.mark.parametrize("lines", [0, 1])
@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("keys", "--help"), ("--version",), ("keys", "list"), ("check",)],
    ids=" ".join,
)
def test_a_reader_that_closes_the_pipe_is_no_error(tmp_path, arguments, lines):
    env = environment(tmp_path)
    make_key(env, "--type", "secret")
    assert closed_after(lines, env, *arguments) == (0, "")


def test_more_than_a_pipe_holds_is_cut_off_without_a_word(tmp_path):
    env = environment(tmp_path)
    services = contactapi.open_services(contactapi.Config.from_env(env))
    for _ in range(400):
        services.keys.create(contactapi.operator("cli", 1), "secret", "x" * 200)
    services.close()
    assert closed_after(1, env, "keys", "list") == (0, "")


def test_a_mistake_is_said_though_nobody_reads_the_output(tmp_path):
    env = environment(tmp_path)
    status, said = closed_after(0, env, "keys", "revoke", "key_1")
    assert (status, said) == (1, "contactapi: there is no such key\n")


def test_a_mistake_ends_with_its_status_though_nobody_reads_at_all(tmp_path):
    ours, theirs = os.pipe()
    os.close(ours)
    command = [sys.executable, str(SCRIPT), "keys", "revoke", "key_1"]
    ended = subprocess.run(
        command, env=environment(tmp_path), stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    assert ended.returncode != 0


@pytest.mark.parametrize("command", ["export", "backup"])
def test_a_file_that_is_there_is_refused_be_it_a_device(tmp_path, command):
    env = environment(tmp_path)
    make_key(env, "--type", "secret")
    (tmp_path / "out.csv").symlink_to("/dev/stdout")
    for name in ("/dev/stdout", tmp_path / "out.csv"):
        ended = run(env, command, name)
        assert ended.returncode in (1, 2) and ended.stdout == ""
        assert ended.stderr.count("\n") == 1 and "Traceback" not in ended.stderr


# -- who may read our files


def modes(folder):
    return {
        path.name: stat.S_IMODE(path.stat().st_mode)
        for path in folder.iterdir()
        if path.is_file()
    }


def test_every_file_is_for_its_owner_alone_whatever_the_umask(tmp_path, serve):
    folder = tmp_path / "data"
    folder.mkdir()
    server = serve(folder, preexec_fn=lambda: os.umask(0))
    env = environment(folder)

    def ours(*arguments):
        ended = run(env, *arguments, cwd=folder, preexec_fn=lambda: os.umask(0))
        assert ended.returncode == 0, ended.stderr

    ours("export", "contacts.csv")
    ours("export", "contacts.jsonl")
    ours("backup", "backup.db")
    ours("copy", "sqlite:///contacts.db", "sqlite:///copy.db")
    there = modes(folder)
    assert {"contacts.db", "contacts.db-wal", "contacts.db-shm"} <= there.keys()
    assert {"contacts.csv", "contacts.jsonl", "backup.db", "copy.db"} <= there.keys()
    assert {name for name, mode in there.items() if mode != 0o600} == set()
    server.stop()
    assert {mode for name, mode in modes(folder).items() if ".db" in name} == {0o600}


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_database_that_others_may_read_is_said_by_check(tmp_path, mode):
    env, file = environment(tmp_path), tmp_path / "contacts.db"
    make_key(env, "--type", "secret")
    assert "mode: ok\n" in run(env, "check").stdout
    file.chmod(mode)
    ended = run(env, "check")
    assert f"mode: others may read it (mode {mode:04o}): chmod 600\n" in ended.stdout
    assert ended.returncode == 0


def test_a_database_that_others_may_read_is_said_once_at_the_start(tmp_path, serve):
    folder = tmp_path / "data"
    folder.mkdir()
    make_key(environment(folder), "--type", "secret")
    for mode, times in ((0o600, 0), (0o644, 1)):
        (folder / "contacts.db").chmod(mode)
        server = serve(folder)
        server.stop()
        said = f"{folder / 'contacts.db'}: others may read it (mode {mode:04o})"
        assert server.output.decode().count(said) == times, server.output


# -- settings


def test_an_empty_value_is_the_default(tmp_path):
    variables = [row[0] for row in contactapi.Config.table()]
    default = contactapi.Config.from_env({})
    assert contactapi.Config.from_env(dict.fromkeys(variables, "")) == default
    env = {**environment(tmp_path), **dict.fromkeys(variables, "")}
    ended = run(env, "keys", "list", "--json", cwd=tmp_path)
    assert (ended.returncode, json.loads(ended.stdout)) == (0, [])
    assert (tmp_path / "contacts.db").exists()
    assert "an empty value" in run(env, "--help").stdout
