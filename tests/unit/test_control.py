"""The control view is the newest of each object, whatever comes between."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundswell.control import ControlView
from groundswell.errors import WrongShape
from groundswell.records import Acknowledgement, Endpoint, Incarnation, Secret, Silence

SECRET = Secret(kid="k", nonce="n", ct="c")
IDS = st.sampled_from(["a", "b", "c"])


def endpoint(name: str, at: int = 0) -> Endpoint:
    return Endpoint(id=name, name=name, url=SECRET, secret=SECRET, shown="https://x", created_at=at)


objects = st.one_of(
    st.builds(endpoint, IDS, st.integers(0, 9)),
    st.builds(lambda name, at: Acknowledgement(id=name, by="ana", at=at), IDS, st.integers(0, 9)),
    st.builds(lambda name, at: Silence(id=name, subjects=[], until=at, by="ana", at=0), IDS, st.integers(0, 9)),
)
good = st.one_of(
    objects.map(lambda made: (made.id, msgspec.json.encode(made), made)), IDS.map(lambda name: (name, None, None))
)
foreign = st.tuples(
    IDS, st.one_of(st.binary(max_size=20), st.just(b"[" * 3000), st.just(b'{"kind":"endpoint"}')), st.none()
).filter(lambda record: record[1] is not None)


@given(st.lists(st.one_of(good, foreign)))
def test_the_view_is_the_last_of_each_id_and_foreign_records_change_nothing(records):
    view, wanted = ControlView(), {}
    for key, value, made in records:
        if value is not None and made is None:
            before = (dict(view.endpoints), dict(view.acks), dict(view.silences), view.revision)
            with pytest.raises(WrongShape):
                view.apply(key, value)
            assert (view.endpoints, view.acks, view.silences, view.revision) == before
            continue
        view.apply(key, value)
        wanted[key] = made
    wanted = {key: made for key, made in wanted.items() if made is not None}
    assert {**view.endpoints, **view.acks, **view.silences} == wanted
    assert len(view.endpoints) + len(view.acks) + len(view.silences) == len(wanted)


def test_compaction_does_not_change_the_view():
    records = [endpoint("a", 1), endpoint("b", 1), endpoint("a", 2)]
    whole, compacted = ControlView(), ControlView()
    for record in records:
        whole.apply(record.id, msgspec.json.encode(record))
    for record in records[1:]:
        compacted.apply(record.id, msgspec.json.encode(record))
    assert whole.endpoints == compacted.endpoints


def test_an_object_under_the_id_of_another_is_refused():
    view = ControlView()
    with pytest.raises(WrongShape, match="under the key"):
        view.apply("b", msgspec.json.encode(endpoint("a")))


def test_the_incarnation_is_the_newest_that_was_written():
    view = ControlView()
    for name in ("first", "second"):
        view.apply(name, msgspec.json.encode(Incarnation(id=name, made_at=1)))
    assert view.incarnation == "second"
