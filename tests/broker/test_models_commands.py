"""`tidegate models` on a real Kafka: a ranker reaches every partition, in one transaction."""

import pytest
from commands import records
from made_rankers import ranker, written

from flows.commands import CommandError, _models
from flows.commands._everywhere import Everywhere, ForAll
from flows.settings import load_settings

pytestmark = [pytest.mark.broker, pytest.mark.usefixtures("topics")]

PARTITIONS = 4
"""As `tidegate topics create` makes them."""


def made(version):
    """Return a ranker by a feature that is always there."""
    return ranker(version, features=("item_age_h",))


@pytest.fixture
def file(tmp_path):
    def write(version):
        path = tmp_path / f"{version}.json"
        path.write_bytes(written(made(version)))
        return str(path)

    return write


def test_a_ranker_is_published_shown_rolled_back_and_retired(tidegate, file, bootstrap, prefix):
    one, two = file("one"), file("two")

    for path in (one, two, one):
        assert tidegate("models", "publish", path)[0] == 0
    messages = records(bootstrap, f"{prefix}ranking.models", 3 * PARTITIONS)
    assert sorted({message.partition() for message in messages}) == list(range(PARTITIONS))
    assert {message.key() for message in messages} == {b"ranker"}
    assert tidegate("models", "show")[1].startswith("one, trained on 7 lists")
    assert tidegate("models", "retire")[0] == 0
    assert tidegate("models", "show")[1] == "there is no ranker: lists go by the fallback\n"


def test_of_two_who_publish_at_once_the_first_is_told(bootstrap, prefix):
    settings = load_settings(None, {"TIDEGATE_KAFKA__BOOTSTRAP": bootstrap, "TIDEGATE_KAFKA__PREFIX": prefix})
    first = Everywhere(settings, "ranking.models", "models", "Look again")
    _models.publish(settings, made("second"))

    with pytest.raises(CommandError, match=r"^nothing was published: .* Look again$"):
        first.publish([ForAll(b"ranker", written(made("first")))])
    assert [one.version for one in _models.held(settings).each] == ["second"] * PARTITIONS
