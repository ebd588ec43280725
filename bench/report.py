"""What one run has measured, as Markdown."""

from figures import CEILING, NAMES, Results
from targets import targets


def markdown(results: Results) -> str:
    """All of it, the targets first."""
    parts = ["# Measured", "\n".join(f"- {line}" for line in results.machine)]
    parts += ["## Targets", table(("target", "measured", ""), target_rows(results))]
    for connections in results.connections():
        parts += load_tables(results, connections)
    if results.weight:
        parts += ["## Start and memory", weight_table(results)]
    if results.transfers:
        parts += ["## Import and export by command line", transfer_table(results)]
    if results.pages:
        parts += ["## Page depth", page_table(results)]
    if results.searches:
        heading = f"## Search and filters, {results.size:,} contacts"
        parts += [heading, search_table(results)]
    if results.beside:
        parts += ["## GET one beside a search", beside_table(results)]
    if results.visitors:
        heading = "## What a page sends, its answers off the grid"
        parts += [heading, visitors_table(results)]
    if results.slow_disk:
        parts += ["## A disk whose sync takes 2 ms longer", slow_table(results)]
    if results.skipped:
        parts += ["## Not measured", "\n".join(f"- {line}" for line in results.skipped)]
    return "\n\n".join(parts) + "\n"


def table(head: tuple, rows: list) -> str:
    """A Markdown table, every column but the first to the right."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def target_rows(results: Results) -> list:
    word = {True: "met", False: "**not met**", None: "not measured"}
    return [(each.wanted, each.measured, word[each.met]) for each in targets(results)]


def load_tables(results: Results, connections: int) -> list:
    """Rates with their share of the ceiling's; p50 and p99; errors where there are."""
    plural = "connection" if connections == 1 else "connections"
    head = ("", *NAMES.values())
    rates, times, errors = [], [], []
    for label in results.weight:
        rate_cells, time_cells = [label], [label]
        for operation in NAMES:
            drive = results.load.get((label, operation, connections))
            rate_cells.append(rate_cell(results, label, operation, connections))
            time_cells.append(f"{drive.p50:.2f} / {drive.p99:.2f}" if drive else "")
            if drive and drive.refused + drive.broken:
                counts = f"{drive.refused} not 2xx, {drive.broken} without an answer"
                errors.append(f"- {label}, {NAMES[operation]}: {counts}")
        rates.append(tuple(rate_cells))
        times.append(tuple(time_cells))
    return [
        f"## {connections} {plural}",
        f"Requests/s, and in brackets their share of the ceiling's ({results.how}):",
        table(head, rates),
        "Milliseconds, p50 / p99:",
        table(head, times),
        "Errors:\n\n" + "\n".join(errors) if errors else "No errors.",
    ]


def rate_cell(results: Results, label: str, operation: str, connections: int) -> str:
    rate = results.rate(label, operation, connections)
    ceiling = results.rate(CEILING, operation, connections)
    if not rate:
        return ""
    return f"{rate:,.0f} ({rate / ceiling:.2f})" if ceiling else f"{rate:,.0f}"


def weight_table(results: Results) -> str:
    rows = [
        (label, f"{w['start']:.2f} s", f"{w['idle']:.0f} MB", f"{w['after']:.0f} MB")
        for label, w in results.weight.items()
    ]
    return table(("", "start, beyond Python's own", "idle RSS", "RSS after"), rows)


def transfer_table(results: Results) -> str:
    rows = [
        (row.what, f"{row.size:,}", f"{row.rate:,.0f}", f"{row.peak:.0f} MB")
        for row in results.transfers
    ]
    return table(("", "contacts", "contacts/s", "most memory"), rows)


def page_table(results: Results) -> str:
    rows = [
        (f"{size:,}", str(page_size), name, f"{t.best:.2f} ms", f"{t.median:.2f} ms")
        for (size, page_size, name), t in results.pages.items()
    ]
    return table(("contacts", "page size", "page", "best", "median"), rows)


def search_table(results: Results) -> str:
    rows = [
        (name, f"{t.best:.1f} ms", f"{t.median:.1f} ms", f"{t.worst:.1f} ms")
        for name, t in results.searches.items()
    ]
    return table(("", "best", "median", "worst"), rows)


def beside_table(results: Results) -> str:
    rows = [
        (name, *(f"{value:.2f} ms" for value in (t.median, t.p99, t.worst)))
        for name, t in results.beside.items()
    ]
    return table(("", "p50", "p99", "worst"), rows)


def slow_table(results: Results) -> str:
    return drives_table("creates, 16 connections", results.slow_disk)


def visitors_table(results: Results) -> str:
    return drives_table("16 connections", results.visitors)


def drives_table(what: str, drives: dict) -> str:
    rows = [
        (name, f"{d.rate:,.0f}/s", f"{d.p50:.1f} ms", f"{d.p99:.1f} ms")
        for name, d in drives.items()
    ]
    return table((what, "", "p50", "p99"), rows)
