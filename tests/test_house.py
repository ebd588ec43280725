"""The order of the file, and what the README says of it."""

import ast
import itertools
import re
import subprocess
import symtable
import sys

import pytest

import contactapi
from client import SOURCE, every_error
from contactapi import EXTRAS, Config

###############################################################################
# Imports, constants ##########################################################
###############################################################################


def banners(text):
    """(line, name) of each section; the first has no banner."""
    edge, middle = "#" * 79, r"# (.+?) #+"
    lines = text.splitlines()
    found = [(1, "Imports, constants")]
    for number, line in enumerate(lines):
        if line == edge and lines[number + 2 : number + 3] == [edge]:
            match = re.fullmatch(middle, lines[number + 1])
            assert match and len(lines[number + 1]) == 79, lines[number + 1]
            found.append((number + 1, match[1]))
    return found


def contents(text):
    """The sections as the module's docstring names them."""
    docstring = ast.get_docstring(ast.parse(text), clean=False)
    listed = docstring.partition("A section uses only sections above it:\n\n")[2]
    block = listed.partition("\n\n")[0].splitlines()
    return [re.match(r" {4}(\S.*?)(?: {2,}|$)", line)[1] for line in block]


def names_used(text):
    """(name, line) for each use of a module-level name, function bodies included."""

    def in_table(table):
        for symbol in table.get_symbols():
            if symbol.is_global() and symbol.is_referenced():
                yield symbol.get_name(), table.get_lineno()
        for child in table.get_children():
            yield from in_table(child)

    for table in symtable.symtable(text, "contactapi.py", "exec").get_children():
        yield from in_table(table)
    for statement in ast.parse(text).body:
        for node in outside_bodies(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                yield node.id, statement.lineno
    for node in ast.walk(ast.parse(text)):  # an annotation may name a class in quotes
        said = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if said and re.fullmatch(r"[A-Z]\w*", node.value):
            yield node.value, node.lineno


def outside_bodies(node):
    """What runs when the module is imported."""
    yield node
    inner = list(ast.iter_child_nodes(node))
    if isinstance(node, (ast.FunctionDef, ast.Lambda)):
        inner = [n for n in inner if n is not node.args]
        body = node.body if isinstance(node.body, list) else [node.body]
        inner = [n for n in inner if n not in body]
        inner += node.args.defaults + [d for d in node.args.kw_defaults if d]
    for child in inner:
        yield from outside_bodies(child)


def names_defined(text):
    """The line on which each module-level name is first bound, imports left out."""
    lines = {}
    for statement in ast.parse(text).body:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            continue
        names = [getattr(statement, "name", None)]
        if isinstance(statement, (ast.Assign, ast.AnnAssign)):
            names = [n.id for n in ast.walk(statement) if isinstance(n, ast.Name)]
            targets = getattr(statement, "targets", None) or [statement.target]
            walked = itertools.chain.from_iterable(map(ast.walk, targets))
            names = [n.id for n in walked if isinstance(n, ast.Name)]
        for name in filter(None, names):
            lines.setdefault(name, statement.lineno)
    return lines


def section_of(text):
    found = banners(text)
    return lambda line: max(i for i, (start, _) in enumerate(found) if start <= line)


def test_the_sections_stand_in_the_order_of_the_docstrings_contents():
    text = SOURCE.read_text()
    assert [name for _, name in banners(text)] == contents(text)


def test_a_section_uses_only_sections_above_it():
    text = SOURCE.read_text()
    section, defined = section_of(text), names_defined(text)
    below = {
        f"line {line} uses {name} of line {defined[name]}"
        for name, line in names_used(text)
        if name in defined and section(defined[name]) > section(line)
    }
    assert below == set()


@pytest.mark.parametrize(
    "use", ["return [B() for _ in (1,)]", 'x: "B"', "def inner(x=B): pass"]
)
def test_the_test_of_the_sections_sees_a_use_in_a_body_and_in_quotes(use):
    banner = "#" * 79 + "\n# {0} {1}\n" + "#" * 79 + "\n"
    first, second = (banner.format(n, "#" * (76 - len(n))) for n in ("One", "Two"))
    text = f"{first}def a():\n    {use}\n{second}class B: pass\n"
    section, defined = section_of(text), names_defined(text)
    used = {name: line for name, line in names_used(text) if name in defined}
    assert [section(defined[n]) > section(line) for n, line in used.items()] == [True]


def test_peewee_appears_only_in_storage_and_services():
    text = SOURCE.read_text()
    section, names = section_of(text), [name for _, name in banners(text)]
    rooms = {names[section(line)] for n, line in names_used(text) if n == "peewee"}
    assert rooms <= {"Storage", "Services"}


def test_bottles_request_and_response_appear_only_from_http_core_on():
    text = SOURCE.read_text()
    section, names = section_of(text), [name for _, name in banners(text)]
    first = names.index("HTTP core")
    early = {
        f"{name} near line {line}"
        for name, line in names_used(text)
        if name in ("request", "response") and section(line) < first
    }
    assert early == set()


def test_every_extra_is_small_and_stands_in_the_table():
    files = sorted(SOURCE.with_name("extras").glob("[!_]*.py"))
    texts = {file.stem: file.read_text() for file in files}
    assert [name for name, text in texts.items() if text.count("\n") >= 400] == []
    assert texts.keys() >= {extra.module for extra in EXTRAS}
    assert all(extra.load() for extra in EXTRAS)


def test_every_other_module_of_extras_is_a_part_of_one():
    files = SOURCE.with_name("extras").glob("[!_]*.py")
    texts = {file.stem: file.read_text() for file in files}
    used = set(
        re.findall(r"^ *from extras\.(\w+) import", "\n".join(texts.values()), re.M)
    )
    assert used >= texts.keys() - {extra.module for extra in EXTRAS}


def test_the_pages_that_are_named_to_the_core_are_those_that_are_served():
    (extra,) = (extra for extra in EXTRAS if extra.module == "pages")
    assert extra.paths == tuple(extra.load().PAGE_PATHS)


def test_every_extra_with_commands_has_what_makes_each_of_them():
    for extra in EXTRAS:
        module = extra.load()
        assert getattr(module, "COMMANDS", {}).keys() == extra.commands.keys()


def test_what_asks_for_an_extra_and_what_it_needs_are_settings():
    known = {variable for variable, _, _ in Config.table()}
    assert all(known >= {*extra.asked_by, *extra.needs} for extra in EXTRAS)
    assert all(extra.settings().keys() == {*extra.variables} for extra in EXTRAS)


def test_importing_the_module_opens_reads_and_starts_nothing(tmp_path):
    script = """
import logging, sys, threading
sys.path.insert(0, sys.argv[1])
import argparse, bottle, peewee, waitress.server, waitress.task, resource, ipaddress
seen = []
watched = ("socket.", "sqlite3.", "subprocess.", "os.putenv", "os.mkdir", "signal.")
sys.addaudithook(lambda name, args: name.startswith(watched) and seen.append(name))
import contactapi
print(seen, threading.active_count(), logging.getLogger().handlers)
"""
    ran = subprocess.run(
        [sys.executable, "-B", "-c", script, str(SOURCE.parent)],
        cwd=tmp_path,
        env={"CONTACTAPI_NONSENSE": "1", "PORT": "nonsense"},
        capture_output=True,
        text=True,
    )
    assert (ran.stdout, ran.stderr) == ("[] 1 []\n", "")
    assert list(tmp_path.iterdir()) == []


###############################################################################
# README ######################################################################
###############################################################################

README = SOURCE.with_name("README.md").read_text(encoding="utf-8")


def between(mark):
    """The rows of a table of the README, without its head."""
    table = README.split(f"<!-- {mark} -->\n")[1].split(f"\n<!-- /{mark} -->")[0]
    return table.splitlines()[2:]


def test_the_readme_lists_every_endpoint_and_what_it_needs(api):
    paths = {}
    for route in api.app.routes:
        needs = route.config.get("needs")
        if needs is None:
            continue
        path = re.sub(r"<ref(:re:.*\+)?>", ":id", route.rule)
        named = ", ".join(f"`{name}`" for name in needs)
        words = {contactapi.EVERYTHING: "a secret key", contactapi.SIGNED: needs[0]}
        shown = words.get(needs[0], named)
        shown += ", or a publishable key" if route.config.get("public") else ""
        paths.setdefault(path, []).append(f"`{route.method}` {shown}")
    rows = [f"| `{path}` | {' · '.join(takes)} |" for path, takes in paths.items()]
    assert between("routes") == rows


def test_the_readme_and_the_help_list_every_setting(capsys):
    rows = []
    for variable, default, about in Config.table():
        shown = "none" if default == "none" else f"`{default}`"
        rows.append(f"| `{variable}` | {shown} | {about} |")
    assert between("settings") == rows
    with pytest.raises(SystemExit):
        contactapi.main(["--help"])
    text = capsys.readouterr().out
    assert all(f"  {variable} " in text for variable, _, _ in Config.table())


def test_the_readme_names_every_command_and_every_code():
    for command in ("serve", "keys create", "keys update", "keys list", "keys revoke"):
        assert f"python contactapi.py {command}" in README.replace("[serve]", "serve")
    for command in ("mail", "import", "export", "backup", "copy", "check", "--version"):
        assert f"python contactapi.py {command}" in README
    for action in ("create", "update", "list", "test|delete"):
        assert f"python contactapi.py webhooks {action}" in README
    used = {error.code for error in every_error()}
    assert {"captcha_failed", "gone", "not_found"} <= used
    assert all(f"`{code}`" in README for code in used)
