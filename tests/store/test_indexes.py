"""CONTACTAPI_INDEX_FIELDS: what an index is made for, and when one goes."""

import pytest

import contactapi
from contactapi import Filter, Listed, Mistake


def indexes(api):
    """(table, field) of each that was made for a setting."""
    sql = (
        "SELECT tbl_name, name FROM sqlite_master WHERE name LIKE '%^_by^_%' ESCAPE '^'"
    )
    rows = api.services.store.rows(sql)
    return {
        (table, bytes.fromhex(name.split("_by_")[1]).decode()) for table, name in rows
    }


def of_each_kind(*names):
    tables = [kind.table for kind in contactapi.KINDS]
    return {(table, name) for table in tables for name in names}


def test_a_filter_of_an_indexed_field_has_an_exact_total_by_its_index(
    make, monkeypatch
):
    monkeypatch.setattr(Listed, "CAP", 2)
    api = make(CONTACTAPI_INDEX_FIELDS="plan, the size")
    for number in range(4):
        api.post({"email": f"{number}@x.org", "the size": 5, "other": 5})
    found = api.get("/v1/contacts?filter[the size]=5").json
    assert found["total"] == 4 and "total_capped" not in found
    found = api.get("/v1/contacts?filter[other]=5").json
    assert found["total"] == 2 and found["total_capped"] is True
    where, params = api.services.store.test(*Filter("fields", "is", ("the size", "5")))
    plan = "EXPLAIN QUERY PLAN SELECT count(*) FROM contact WHERE workspace_id = 1 AND "
    (step,) = api.services.store.rows(plan + where, tuple(params))
    assert f"contact_by_{b'the size'.hex()}" in step[-1]


def test_an_index_goes_when_others_are_asked_for_and_stays_when_none_are(make):
    first = make(CONTACTAPI_INDEX_FIELDS="plan,city,plan")
    assert indexes(first) == of_each_kind("plan", "city")
    assert indexes(make(CONTACTAPI_INDEX_FIELDS="é,city")) == of_each_kind("é", "city")
    without = make()
    assert indexes(without) == of_each_kind("é", "city")
    without.post({"email": "a@x.org", "city": "Ulm"})
    assert without.emails("?filter[city]=Ulm") == ["a@x.org"]
    assert indexes(make(CONTACTAPI_INDEX_FIELDS=",")) == set()


@pytest.mark.parametrize(
    "names", ["a'b", 'a"b', "a\\b", "a\nb", "a,b,c,d,e,f,g,h,i,j,k"]
)
def test_what_sql_cannot_spell_or_more_than_ten_names_are_refused(make, names):
    with pytest.raises(Mistake, match="CONTACTAPI_INDEX_FIELDS cannot be read"):
        make(CONTACTAPI_INDEX_FIELDS=names)
