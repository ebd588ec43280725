"""The targets, and whether the figures of one run meet them."""

from typing import NamedTuple, Optional

from figures import CEILING, NAMES, RIVALS, Results

WRITES = ("create", "upsert", "PATCH")
MORE_MEMORY = 1.2  # "constant": at most this many times what the next size took


class Target(NamedTuple):
    """What is wanted, what was measured, and whether it is met (None: not measured)."""

    wanted: str
    measured: str
    met: Optional[bool]


def at_least(wanted: str, bound: float, figures: dict, form: str) -> Target:
    """Met when every one of the named figures is so much."""
    met = min(figures.values()) >= bound if figures else None
    return Target(wanted, listed(figures, form), met)


def at_most(wanted: str, bound: float, figures: dict, form: str) -> Target:
    met = max(figures.values()) <= bound if figures else None
    return Target(wanted, listed(figures, form), met)


def worst(figures: dict) -> dict:
    """The largest of them alone."""
    name = max(figures, key=figures.get, default=None)
    return {} if name is None else {name: figures[name]}


def listed(figures: dict, form: str) -> str:
    return ", ".join(
        f"{name} {form.format(value)}".strip() for name, value in figures.items()
    )


def targets(results: Results) -> list:
    return [
        *load_targets(results),
        *page_targets(results),
        *search_targets(results),
        *file_targets(results),
        *weight_targets(results),
        visitors_target(results),
        slow_disk_target(results),
    ]


def load_targets(results: Results) -> list:
    """Those of requests a second; where not said otherwise, on the smallest database
    at 16 connections."""
    small, large = results.smallest(), results.largest()
    shares = results.ratios(small, CEILING)
    share = {name: {"": ratio} for name, ratio in shares.items()}
    writes = {
        NAMES[each]: shares[NAMES[each]] for each in WRITES if NAMES[each] in shares
    }
    constant, lists = results.rate(CEILING, "GET"), results.rate(small, "list")
    of_constant = {"": lists / constant} if constant and lists else {}
    spread, errors = {}, {}
    for (label, operation, connections), drive in results.load.items():
        if label in results.ours() and connections == 16 and drive.p50:
            spread[f"{NAMES[operation]}, {label}:"] = drive.p99 / drive.p50
        if label in results.ours() and connections == 64:
            errors[""] = errors.get("", 0) + drive.refused + drive.broken
    growth = results.ratios(small, large) if large != small else {}
    grown = "each on the largest database ≤ 1.2 × its time on the smallest"
    times_fastapi = results.ratios(small, RIVALS["FastAPI"])
    return [
        at_least(
            "GET one ≥ 0.80 of the ceiling", 0.8, share.get(NAMES["GET"], {}), "{:.2f}"
        ),
        at_least(
            "list of 20 ≥ 0.50 of a constant as long",
            0.5,
            share.get(NAMES["list"], {}),
            "{:.2f}",
        ),
        at_least(
            "list of 20 ≥ 0.50 of a constant of 200 bytes", 0.5, of_constant, "{:.2f}"
        ),
        at_least("writes ≥ 0.60 of a ceiling that only parses", 0.6, writes, "{:.2f}"),
        at_most("p99 ≤ 6 × p50", 6, worst(spread), "{:.1f} ×"),
        at_most("no error at 64 connections", 0, errors, "{}"),
        at_least("≥ 4 × the FastAPI version", 4, times_fastapi, "{:.1f} ×"),
        at_most(grown, 1.2, growth, "{:.2f} ×"),
    ]


def page_targets(results: Results) -> list:
    size = max((size for size, _, _ in results.pages), default=0)
    cost = {
        depth: times.median
        for (of, page_size, depth), times in results.pages.items()
        if of == size and page_size == 20
    }
    last = {"": cost["last"] / cost["first"]} if cost else {}
    more = {"": cost["middle"] - cost["first"]} if cost else {}
    return [
        at_most("last page ≤ 1.5 × the first", 1.5, last, "{:.2f} ×"),
        at_most("middle page ≤ 15 ms more than the first", 15, more, "{:.1f} ms"),
    ]


def search_targets(results: Results) -> list:
    medians = {f"{name}:": times.median for name, times in results.searches.items()}
    q = {name: time for name, time in medians.items() if name.startswith("`q`")}
    indexed = {name: time for name, time in medians.items() if "indexed" in name}
    return [
        at_most("`q` ≤ 600 ms", 600, worst(q), "{:.0f} ms"),
        at_most(
            "`filter[…]` on an indexed field ≤ 100 ms", 100, worst(indexed), "{:.1f} ms"
        ),
    ]


def file_targets(results: Results) -> list:
    sizes = [0, 0, *sorted({row.size for row in results.transfers})]
    top = [row for row in results.transfers if row.size == sizes[-1]]
    rates = {row.what: row.rate for row in top}
    imports = {what: rate for what, rate in rates.items() if "import" in what}
    exports = {what: rate for what, rate in rates.items() if "export JSONL" in what}
    growth = {
        row.what: row.peak / smaller.peak
        for row in top
        for smaller in results.transfers
        if smaller.what == row.what and smaller.size == sizes[-2]
    }
    return [
        at_least("import ≥ 30,000 contacts/s", 30_000, imports, "{:,.0f}/s"),
        at_least("export (JSONL) ≥ 200,000 contacts/s", 200_000, exports, "{:,.0f}/s"),
        at_most("both in constant memory", MORE_MEMORY, growth, "{:.2f} ×"),
    ]


def weight_targets(results: Results) -> list:
    weights = [results.weight[label] for label in results.ours()]
    start, idle, after = (
        {"": max(each[name] for each in weights)} if weights else {}
        for name in ("start", "idle", "after")
    )
    return [
        at_most("start ≤ 0.25 s beyond Python's own", 0.25, start, "{:.2f} s"),
        at_most("idle RSS ≤ 48 MB", 48, idle, "{:.0f} MB"),
        at_most("RSS ≤ 60 MB after all of this", 60, after, "{:.0f} MB"),
    ]


def visitors_target(results: Results) -> Target:
    rates = {operation: drive.rate for operation, drive in results.visitors.items()}
    create = rates.pop("create", 0)
    shares = {f"{operation}:": rate / create for operation, rate in rates.items()}
    return at_least("a visitor's post ≥ 0.70 of a create", 0.7, shares, "{:.2f}")


def slow_disk_target(results: Results) -> Target:
    slow = results.slow_disk
    ratio = {"": slow["contactapi"].rate / slow["one lock"].rate} if slow else {}
    return at_least("syncs of 2 ms: creates ≥ 3 × one lock", 3, ratio, "{:.1f} ×")
