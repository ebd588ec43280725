"""An index for each field that CONTACTAPI_INDEX_FIELDS names: its `filter[…]` takes as
long as the page that it finds, and `total` is exact."""

import re

from contactapi import Api, Config, Services, Setting, Store


def some_fields(text: str) -> tuple:
    """Names that SQL can spell, so no quotes, backslashes or control characters."""
    names = tuple(
        dict.fromkeys(part.strip() for part in text.split(",") if part.strip())
    )
    if len(names) > 10 or not all(re.fullmatch(r"[^'\"\\\0-\x1f]+", n) for n in names):
        raise ValueError("up to 10 names of fields, without quotes")
    return names


ABOUT = "fields (comma-separated) whose `filter[…]` is indexed; `,` drops the indexes"
SETTINGS = {"CONTACTAPI_INDEX_FIELDS": Setting(some_fields, None, ABOUT)}


def setup(app: Api, services: Services, config: Config) -> None:
    tables = [records.kind.table for records in services.records.values()]
    found_by = {name: f"fields -> '$.\"{name}\"'" for name in config.index_fields}
    keep_indexes(services.store, tables, found_by)
    services.store.indexed = found_by


def keep_indexes(store: Store, tables: list, found_by: dict) -> None:
    """Makes those of each of these tables by this SQL of each field where they are not
    there, and drops any other that was made here before."""
    wanted = {
        f"{table}_by_{name.encode().hex()}": f"{table} "
        f"(workspace_id, ({sql}), created_at)"
        for name, sql in found_by.items()
        for table in tables
    }
    made_here = (
        "SELECT name FROM sqlite_master WHERE type = 'index' "
        "AND name LIKE tbl_name || '@_by@_%' ESCAPE '@'"
    )
    there = {name for (name,) in store.rows(made_here)}

    def work() -> None:
        for name in there - wanted.keys():
            store.run(f"DROP INDEX {name}")
        for name in wanted.keys() - there:
            store.run(f"CREATE INDEX {name} ON {wanted[name]}")

    if there != wanted.keys():
        store.write(work)
