"""What a broker and a registry that let nobody in without a login allow to each principal, and what they refuse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from replay.kafka import log, log_marks, schemas
from replay.releases.folders import read_product
from replay.settings import load_settings
from tests.integration.running import free_port_base, wait_until
from tests.integration.secured import (
    CONTROLLER,
    FILES,
    JOB,
    NAME,
    PRODUCER,
    SCHEMAS,
    SHOPS,
    SOLD,
    Secured,
    append,
    password,
    sales,
    write_product,
)

pytestmark = pytest.mark.timeout(900)

GROUP = f"kappa-{NAME}-r1-a1"
REFUSED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_product(tmp_path_factory.mktemp("sql") / NAME)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Secured]:
    """Kafka and the registry, with topics, the product's permissions and 100 records."""
    made = Secured(tmp_path_factory.mktemp("permissions"), free_port_base(41_000))
    try:
        made.up(only=("kafka", "registry"))
        for topic in SCHEMAS:
            made.owner()(
                "topic", "create", topic, "--schema", str(folder / "schemas" / FILES[topic])
            )
        denied = append(made.producer(), SOLD, sales(0, 1), check=False)
        assert denied.returncode == 1 and f"there is no topic {SOLD}" in denied.stderr, (
            "nothing is allowed yet"
        )
        made.allow(made.kappa.json("acls", NAME, "--from", str(folder)))
        append(made.producer(), SHOPS, '{"shop": "a", "city": "Oslo"}\n')
        append(made.producer(), SOLD, sales(0, 100))
        yield made
    finally:
        made.down()


def test_a_controller_may_ask_all_that_it_asks(secured: Secured, folder: Path) -> None:
    settings, topics = load_settings(secured.layout.home), [SOLD, SHOPS]
    assert log.end_offsets(settings, topics) == {SOLD: {0: 100}, SHOPS: {0: 1}}
    assert (
        log.first_offsets(settings, topics)
        == log.offsets_at(settings, topics, 0)
        == {SOLD: {0: 0}, SHOPS: {0: 0}}
    )
    assert log.latest_times(settings, topics)[SOLD][0]
    assert log.leader_epochs(settings, topics)[SHOPS] == {0: 0}
    assert (
        log.open_transactions(settings, topics) == {} and log.broker_dated(settings, topics) == []
    )
    assert log.topic_ids(settings, topics).keys() == set(topics)
    assert schemas.log_problems(settings, read_product(folder)) == []
    assert log_marks.identity(settings, topics, log.end_offsets(settings, topics)).keys() == set(
        topics
    )
    assert len(list(log.read_range(settings, SOLD, 0, 0, 100))) == 100
    assert secured.kappa.json("topic", "peek", SOLD, "-n", "1")["value"]["id"] == 99

    commit({**secured.kafka(JOB, password(JOB)), "log_level": 0}, GROUP)
    assert log.committed_offsets(settings, GROUP, topics)[SOLD][0].offset == 1
    log.delete_group(settings, GROUP)
    assert log.committed_offsets(settings, GROUP, topics)[SOLD] == {}


def test_a_certificate_is_a_login(secured: Secured, folder: Path) -> None:
    pem = str(secured.authority.pem(CONTROLLER))
    kafka = {
        "bootstrap.servers": secured.mutual,
        "security.protocol": "SSL",
        "ssl.certificate.location": pem,
        "ssl.ca.location": str(secured.authority.ca),
        "ssl.key.location": pem,
    }
    mutual = secured.person("mutual", kafka=kafka)
    assert mutual.json("topic", "list") == [], "of another name, and so without permissions"
    secured.allow(
        [
            acl
            for acl in mutual.json(
                "acls", NAME, "--from", str(folder), "--controller", f"User:CN={CONTROLLER}"
            )
            if acl["who"] == "controller"
        ]
    )
    assert {topic["topic"] for topic in mutual.json("topic", "list")} == {SOLD, SHOPS}


def test_nobody_may_what_is_anothers(secured: Secured) -> None:
    def client(user: str) -> dict[str, Any]:
        return {**secured.kafka(user, password(user)), "log_level": 0}

    def refuses(ask: Any) -> None:
        with pytest.raises(KafkaException) as e:
            ask()
        assert e.value.args[0].code() in REFUSED, e.value

    for user in (PRODUCER, JOB, CONTROLLER):
        admin = AdminClient(client(user))
        refuses(lambda admin=admin: admin.create_topics([NewTopic("other", 1)])["other"].result(30))
        refuses(lambda admin=admin: admin.delete_topics([SOLD])[SOLD].result(30))
    for user in (JOB, CONTROLLER):
        refuses(lambda user=user: produce(client(user), SOLD))
    refuses(lambda: produce(client(PRODUCER), "__consumer_offsets"))
    refuses(lambda: read(client(PRODUCER), "g", SOLD))
    refuses(lambda: commit(client(PRODUCER), GROUP))
    refuses(lambda: commit(client(CONTROLLER), GROUP))
    refuses(lambda: commit(client(JOB), "kappa-other-r1-a1"))
    job = AdminClient(client(JOB))
    refuses(lambda: job.delete_consumer_groups([GROUP])[GROUP].result(30))


def produce(client: dict[str, Any], topic: str) -> None:
    said: list[KafkaError | None] = []
    producer = Producer(client)
    producer.produce(topic, b"x", partition=0, on_delivery=lambda error, _: said.append(error))
    producer.flush(30)
    if said and said[0] is not None:
        raise KafkaException(said[0])


def read(client: dict[str, Any], group: str, topic: str) -> None:
    consumer = Consumer({**client, "group.id": group, "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        for message in consumer.consume(1, timeout=30):
            if message.error():
                raise KafkaException(message.error())
    finally:
        consumer.close()


def commit(client: dict[str, Any], group: str) -> None:
    consumer = Consumer({**client, "group.id": group, "enable.auto.commit": False})
    try:
        wait_until(lambda: committed(consumer), 60, "an answer from the group's coordinator")
    finally:
        consumer.close()


def committed(consumer: Consumer) -> bool:
    """False while the client has not found the group's coordinator."""
    message = consumer.poll(0.5)
    if message is not None and message.error():
        raise KafkaException(message.error())
    try:
        done = consumer.commit(offsets=[TopicPartition(SOLD, 0, 1)], asynchronous=False)
    except KafkaException as e:
        if e.args[0].code() == KafkaError._WAIT_COORD:
            return False
        raise
    if failed := [partition.error for partition in done or () if partition.error]:
        raise KafkaException(failed[0])
    return True


def test_what_is_refused_is_told(secured: Secured) -> None:
    """And how to fix it: a login that is wrong, a permission that is missing, an authority that is not known."""
    producer = secured.producer()
    wrong = secured.person("wrong", kafka=secured.kafka(CONTROLLER, "wr0ng"))
    said = wrong("topic", "list", check=False).stderr
    assert "Kafka refuses this login" in said and "wr0ng" not in said, said
    stranger = secured.person(
        "stranger",
        kafka=secured.kafka(CONTROLLER, "${env:SECURED_KAFKA}")
        | {"ssl.ca.location": "/etc/ssl/certs/ca-certificates.crt"},
    )
    said = stranger("topic", "list", check=False).stderr
    assert "Kafka refuses this login" in said and "certificate" in said.lower(), said
    said = producer("topic", "peek", SOLD, check=False).stderr
    assert "Kafka does not allow what was asked" in said and "kappa acls" in said, said
    file = secured.folder / "more.avsc"
    more = [*SCHEMAS[SOLD], {"name": "note", "type": ["null", "string"], "default": None}]
    file.write_text(json.dumps({"type": "record", "name": "r", "fields": more}))
    said = secured.kappa("topic", "create", SOLD, "--schema", str(file), check=False).stderr
    assert "the schema registry does not allow what was asked" in said and "HTTP 403" in said, said
