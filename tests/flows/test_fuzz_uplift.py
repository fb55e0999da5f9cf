"""Whatever lies in the topics or the file: units are counted or refused in our words, never a traceback."""

import gzip
import json

import fuzzing
import numpy as np
from test_uplift_units import definition

from flows import uplift_files, uplift_units
from flows.uplift_files import BadTable, Columns, UnitTable
from flows.uplift_units import Units

EXPOSURES = (
    b'{"experiment_id":"x","variation_id":"b","user":"ada","timestamp":1000,"attributes":{"k":[1,{"a":"b"}],"n":1.5}}',
    b'{"experiment_id":"x","variation_id":"a","user":"bob","timestamp":"1970-01-01T00:00:01Z","phase":0}',
)
METRICS = (
    b'{"user":"ada","metric":"buy","timestamp":2000,"value":2.5,"id":"r","fields":{"shop":"de","price":3}}',
    b'{"user":"ada","metric":"buy","timestamp":2000.5,"value":null,"fields":{"shop":true}}',
)
TABLE = b'name,arm,kind,age,got\nu1,0,new,33,1.5\nu2,1,old,,0\nu3,1,"a,b",1e3,-2\n'
WORDS = (b'"ada"', b'"attributes":', b'"timestamp":', b"1e308", b"9" * 310, b'"\\ud800"', b"null", b"\n", b",", b'"')
TICK = {"experiment_id": uplift_units.TICK, "variation_id": "t", "user": "t", "timestamp": 10**7}


def checked(units):
    units.expose(json.dumps(TICK).encode(), 10**7)
    sample = units.sample("b")
    assert np.isfinite(sample.outcome).all()
    assert all(isinstance(one, dict) for one in sample.attributes)
    return tuple(units.refused), len(units), len(sample.outcome)


def test_a_record_of_exposures_counts_or_is_refused():
    def check(data):
        units = Units(definition(), 10)
        units.expose(data, 10**7)
        return checked(units)

    print(f"exposures: {fuzzing.fuzz(check, EXPOSURES, (uplift_units,), 0.04, WORDS):,} cases")


def test_a_record_of_the_metric_counts_or_is_refused():
    asked = definition(value="fields.price", where={"fields.shop": ("de", True)})

    def check(data):
        units = Units(asked, 10)
        units.expose(EXPOSURES[0], 10**7)
        units.measure(data, 10**7)
        return checked(units)

    print(f"metrics: {fuzzing.fuzz(check, METRICS, (uplift_units,), 0.04, WORDS):,} cases")


def test_a_table_is_read_or_refused(tmp_path):
    path = tmp_path / "t.csv"

    def check(data):
        path.write_bytes(data)
        try:
            table = UnitTable(path, Columns("arm", "got", "name", None, ()), 10)
            sample = table.sample("1", table.control("0"))
        except BadTable as error:
            return "refused", str(error).partition("expected")[2][:12]
        assert np.isfinite(sample.outcome).all()
        return len(table), len(sample.outcome)

    print(f"tables: {fuzzing.fuzz(check, [TABLE], (uplift_files,), 0.04, WORDS):,} cases")


def test_a_damaged_gzip_table_is_an_error_of_reading(tmp_path):
    path = tmp_path / "t.csv.gz"

    def check(data):
        path.write_bytes(data)
        try:
            return len(UnitTable(path, Columns("arm", "got", None, None, ()), 100))
        except (BadTable, OSError) as error:
            return type(error).__name__

    squeezed = gzip.compress(TABLE[:22] + TABLE[22:38] * 50, mtime=0)
    print(f"gzip: {fuzzing.fuzz(check, [squeezed, squeezed[:10]], (uplift_files, gzip), 0.03):,} cases")
