"""The catalogue's bounds, its snapshots, and that nothing depends on how its topic was read."""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import laws
import msgspec
import numpy as np
import pytest
from catalogue_streams import START, keys, record, side, stream
from cutting import canonical
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "featurize"))
from featurize_reference import ReferenceLru

from operators.parts import Changes, Sweep
from operators.recall.catalogue import Catalogue
from operators.recall.catalogue_config import CatalogueConfig, ItemGroupConfig
from operators.recall.shelves import Shelves
from operators.state import SomeRows, pack, unpack

TIGHT = CatalogueConfig(
    max_items=20,
    promote_after_s=60,
    number_fields=("price",),
    category_fields=("brand", "tags"),
    groups=(ItemGroupConfig("first", "brand", ("b1",)),),
    risk_field="seller_risk",
    offer_field="offer",
)
"""A bound that the streams run into."""


class Held(Catalogue):
    """A catalogue as the laws ask it: by sides."""

    def take_side(self, given_):
        self.take(given_)


def made():
    return Held(TIGHT)


def sides(records, at=()):
    """Return the records as sides, cut before each of the places `at`."""
    ends = sorted({0, *at, len(records)})
    return [side(*records[a:b], first=a) for a, b in pairwise(ends)]


def told(catalogue):
    """Return all that a catalogue and its shelves say, by item."""
    shelves = Shelves(catalogue)
    lists = [shelves.popular(1_000), shelves.trending(1_000), shelves.new(1_000, 7, START)]
    return catalogue.rows().tolist(), catalogue.ids[: catalogue.used], [each.tolist() for each in lists]


@settings(max_examples=40)
@given(seed=st.integers(1, 50), at=st.sets(st.integers(0, 300), max_size=40))
def test_nothing_depends_on_where_the_topic_was_cut(seed, at):
    records = stream(seed, 300)
    whole, pieces = made(), made()
    laws.run(whole, sides(records))
    laws.run(pieces, sides(records, at))

    assert canonical(whole.dump()) == canonical(pieces.dump())
    assert told(whole) == told(pieces)


def test_nothing_depends_on_every_record_coming_alone():
    records = stream(3, 400)
    whole, pieces = made(), made()
    laws.run(whole, sides(records))
    laws.run(pieces, sides(records, range(400)))

    assert canonical(whole.dump()) == canonical(pieces.dump())


def test_it_survives_a_snapshot():
    batches = sides(stream(4, 400), range(0, 400, 23))

    laws.survives_a_snapshot(made, batches, at=range(1, len(batches), 2))


@settings(max_examples=25)
@given(data=st.data())
def test_its_parts_are_its_state(data):
    batches = sides(stream(data.draw(st.integers(1, 9)), 600, items=90), range(0, 600, 60))
    size, restart = st.integers(1, 64), st.booleans()
    larger = CatalogueConfig(max_items=70, category_fields=("brand",), offer_field="offer")
    laws.its_parts_are_its_state(
        lambda: Held(larger), ([each] for each in batches), lambda: data.draw(size), lambda: data.draw(restart)
    )


def test_a_restored_catalogue_says_the_same():
    before, after = made(), made()
    laws.run(before, sides(stream(5, 300)))
    after.load(unpack(pack(before.dump())))

    assert told(after) == told(before)
    assert after.versions == before.versions == {"3": 300}
    rows = before.rows()
    for name in ("popularity", "trending", "key", "signals", "numbers", "categories", "group", "risk", "value"):
        assert getattr(after, name)[rows].tobytes() == getattr(before, name)[rows].tobytes()


def test_a_loaded_catalogue_writes_what_was_loaded_and_not_what_it_wrote_before():
    one, other = made(), made()
    one.take(side(record("a", fields={"offer": "x"})))
    other.take(side(record("b", fields={"offer": "y"})))
    one.dump()
    one.load(other.dump())

    assert canonical(one.dump()) == canonical(other.dump())


def test_a_part_holds_the_rows_that_changed_and_the_texts_of_their_block():
    catalogue, changes = Catalogue(CatalogueConfig()), Changes()
    catalogue.take(side(*(record(f"i{k}") for k in range(5_000))))
    changes.of(catalogue, Sweep())
    catalogue.take(side(record("i4000", START + 1), record("new")))
    part = changes.of(catalogue, Sweep(1, 1))
    rows = {name: each.numbers.tolist() for name, each in part.items() if isinstance(each, SomeRows)}

    # slice 1 of 64 has rows 1, 65, ...
    assert rows["columns.signals"] == sorted({*range(1, 5_001, 64), 4_000, 5_000})
    texts = {name for name in part if name.startswith(("ids.", "offers."))}
    assert texts == {"ids.19", "ids.rows", "offers.19", "offers.rows"}  # block 19 has rows 4,864 to 5,119
    assert len(pack(part)) < len(pack(catalogue.dump())) / 15


def test_two_runs_are_the_same():
    laws.repeats_itself(made, sides(stream(6, 300), range(0, 300, 50)))


class Model:
    """What is held when the table is full, on Python lists: `ReferenceLru`, and items taken back go first."""

    def __init__(self, size, promote_after_ms):
        self.lru = ReferenceLru(size, promote_after_ms)
        self.held, self.clock_ms, self.evicted = {}, 0, 0

    def take(self, item, time_ms):
        self.clock_ms = max(self.clock_ms, time_ms)
        victim = self.lru.touch(item, self.clock_ms)
        self.evicted += self.held.pop(victim, None) is not None
        self.held[item] = time_ms

    def take_back(self, item):
        if self.held.pop(item, None) is not None:
            for listed in (self.lru.probation, self.lru.protected):
                if item in listed:
                    listed.remove(item)
            self.lru.probation.append(item)


@settings(max_examples=60)
@given(
    size=st.integers(1, 8),
    promote_after_s=st.sampled_from([0, 20, 100]),
    uses=st.lists(st.tuples(st.integers(0, 12), st.integers(-1, 3), st.booleans()), max_size=100),
    cut=st.integers(1, 30),
)
def test_who_goes_when_it_is_full_is_as_in_a_segmented_lru(size, promote_after_s, uses, cut):
    model, catalogue = (
        Model(size, promote_after_s * 1_000),
        Catalogue(CatalogueConfig(max_items=size, promote_after_s=promote_after_s)),
    )
    records, time_ms = [], START
    for item, step, gone in uses:
        if gone and step == 0:
            model.take_back(f"i{item}")
            records.append(f"i{item}")
            continue
        time_ms += step * 10_000
        model.take(f"i{item}", time_ms)
        records.append(record(f"i{item}", time_ms))
    for each in sides(records, range(0, len(records), cut)):
        catalogue.take(each)
    rows = catalogue.rows()

    assert {catalogue.ids[row]: int(catalogue.as_of_ms[row]) for row in rows} == model.held
    assert (catalogue.find(keys(*(f"i{k}" for k in range(13)))) >= 0).sum() == len(model.held)
    measured = {each.metric: each.value for each in catalogue.measurements()}
    assert measured["tidegate_catalogue_items"] == len(model.held)
    assert measured["tidegate_catalogue_items_evicted_total"] == model.evicted


def test_a_flood_of_new_items_does_not_flush_those_that_come_again():
    catalogue = Catalogue(CatalogueConfig(max_items=100))
    regulars = [f"r{k}" for k in range(80)]
    for time_ms in (START, START + 600_000):
        catalogue.take(side(*(record(each, time_ms) for each in regulars)))
    catalogue.take(side(*(record(f"f{k}", START + 600_000) for k in range(3_000))))

    assert (catalogue.find(keys(*regulars)) >= 0).all()
    assert len(catalogue) == 100


def test_ids_that_somebody_made_up_push_out_no_item_that_is_described():
    catalogue = Catalogue(CatalogueConfig(max_items=1_000))
    real = [f"r{k}" for k in range(500)]
    catalogue.take(side(*(record(each, START, {"price": 1.0}) for each in real)))
    catalogue.take(side(*(record(f"f{k}", START + 1) for k in range(1_500))))

    assert (catalogue.find(keys(*real)) >= 0).all()
    assert len(catalogue) == 1_000


def test_an_item_that_was_taken_back_makes_room_first():
    catalogue = Catalogue(CatalogueConfig(max_items=3))
    catalogue.take(side(*map(record, "abc"), "c", record("d")))

    assert (catalogue.find(keys(*"abcd")) >= 0).tolist() == [True, True, False, True]
    assert {each.metric: each.value for each in catalogue.measurements()}["tidegate_catalogue_items_evicted_total"] == 0


def test_memory_is_bounded_under_a_flood_of_items():
    def newcomers(first, n=500):
        return side(*(record(f"i{k:07d}", START + k, {"offer": f"o{k:07d}"}) for k in range(first, first + n)))

    flood = [newcomers(first) for first in range(0, 8_000, 500)]
    config = CatalogueConfig(max_items=1_500, offer_field="offer")
    laws.keeps_its_memory_bounded(lambda: Held(config), flood, slack=0.1)


def test_a_snapshot_of_other_bounds_or_columns_is_refused():
    whole = made()
    laws.run(whole, sides(stream(1, 50)))
    for other in (CatalogueConfig(max_items=21), CatalogueConfig(max_items=20, promote_after_s=60)):
        with pytest.raises(ValueError, match="expected"):
            Catalogue(other).load(whole.dump())


@pytest.mark.parametrize(
    "bad", [None, np.frombuffer(b"{", np.uint8), np.frombuffer(msgspec.msgpack.encode(["a", "b"]), np.uint8)]
)
def test_a_snapshot_with_other_texts_is_refused(bad):
    one = Catalogue(CatalogueConfig())
    one.take(side(record("a")))

    with pytest.raises(ValueError, match="texts"):
        one.load(one.dump() | {"ids.0": bad})


def test_settings_that_the_state_depends_on_have_fingerprints_of_their_own():
    configs = [
        CatalogueConfig(),
        TIGHT,
        CatalogueConfig(number_fields=("a",)),
        CatalogueConfig(groups=(ItemGroupConfig("a", "b", (1.0,)),)),
        CatalogueConfig(groups=(ItemGroupConfig("a", "b", (True,)),)),
        CatalogueConfig(risk_from_signals=True),
    ]

    assert len({Catalogue(each).fingerprint for each in configs}) == len(configs)
    others = CatalogueConfig(new_for_s=1, new_undescribed=True)
    assert Catalogue(others).fingerprint == Catalogue(CatalogueConfig()).fingerprint


def signatures():
    """Return how many versions of each loop are compiled."""
    modules = [module for name, module in sys.modules.items() if name.startswith("operators.recall.")]
    loops = [each for module in modules for each in vars(module).values() if hasattr(each, "signatures")]
    return {f"{each.__module__}.{each.__name__}": len(each.signatures) for each in loops}


def busy():
    """Do all that can be done."""
    catalogue = made()
    for each in sides(stream(1, 300), range(0, 300, 50)):
        catalogue.take(each)
        told(catalogue)
        catalogue = laws.restarted(made, catalogue)
        catalogue.find(keys("i1"))


def test_the_warm_ups_compile_all_that_is_ever_needed():
    code = (
        "import test_catalogue_laws as t; from operators.recall import catalogue, shelves; "
        "catalogue.warm_up(); shelves.warm_up(); before = t.signatures(); t.busy(); after = t.signatures(); "
        "assert len(before) > 2, before; assert before == after, {n: after[n] for n in after if before[n] != after[n]}"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stderr
