"""Topics whose identifiers are pseudonyms already are known by the names that batches and side inputs carry."""

from flows.risk import Stages
from flows.settings import Settings, with_key


def test_events_come_under_the_full_name_and_labels_under_the_short_one():
    settings = with_key(Settings(), bytes(32))
    privacy = settings.privacy.model_copy(update={"pseudonymised_topics": ("events", "labels")})
    kafka = settings.kafka.model_copy(update={"prefix": "acme."})
    stages = Stages(settings.model_copy(update={"privacy": privacy, "kafka": kafka}))

    assert stages.decode(0).pseudonymizer.pseudonymised_topics == {"acme.events", "labels"}
