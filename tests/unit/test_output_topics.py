"""Outputs that are topics: names that clash, what a release and its jobs are told, what stays as it was without one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import ValidationError

from jobs.bindings import LARGEST_RECORD, Bindings, sink_options
from jobs.product import model
from jobs.product.folder import Product
from jobs.product.model import OutputSettings
from jobs.product.names import may_be_output_topic, output_topic
from jobs.product.settings import ProductSettings
from replay.controller.act import Context, perform
from replay.controller.act import output_topics as of_attempt
from replay.core import steps as step
from replay.core.model import Attempt, ProductState, Release, State
from replay.errors import RefusedError
from replay.kafka import output_topics, topics
from replay.kafka.acls import Acl, Role, commands, of_product
from replay.kafka.output_topics import Named, refuse_shared, refuse_short_transactions
from replay.releases import computation, plan
from replay.releases.reason import Kind
from replay.store.leases import Lease
from replay.store.store import Store
from tests.unit import control_platform, products
from tests.unit.lake_tables import make_settings

ATTEMPT = Attempt("orders", 2, 1, 0.0, 1, ("j",))


def settings_of(outputs: dict[str, Any], **said: Any) -> ProductSettings:
    topic = {"time": "t", "allowed_lateness": "1h"}
    return ProductSettings.model_validate(
        {"name": "orders", "topics": {"orders": topic}, "outputs": outputs, **said}
    )


@pytest.mark.parametrize(
    ("topic", "written", "clash"),
    [
        ("a", "a", True),
        ("a.r1-a1", "a", True),
        ("a_r1-a12", "a", True),
        ("a.b", "a_b", True),
        ("a.r1", "a", False),
        ("ab", "a", False),
        ("a.r1-a1", "a.r1-a1", True),
        ("r1-a1", "a", False),
    ],
)
def test_a_topic_of_an_attempt_is_told_by_its_name(topic: str, written: str, clash: bool) -> None:
    assert may_be_output_topic(topic, written) is clash


def test_the_name_of_every_attempt_is_known_as_such() -> None:
    assert output_topic("a-b", "r2-a1") == "a-b.r2-a1"
    assert may_be_output_topic(output_topic("a-b", ATTEMPT.name), "a-b")


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (
            {"o": {"topic": "orders"}},
            "output o would write to topic orders, but the product reads orders: give it another name",
        ),
        (
            {"o": {"topic": "x"}, "p": {"topic": "x"}},
            "outputs o and p have the topics x and x, but each output has its own",
        ),
        (
            {"o": {"topic": "x"}, "p": {"topic": "x.r1-a1"}},
            "outputs o and p have the topics x and x.r1-a1, but each output has its own",
        ),
        ({"o": {"topic": "a b"}}, "a name that Kafka takes"),
        ({"o": {"topic": "a" * 221}}, "of at most 220 characters"),
    ],
)
def test_names_that_cannot_be_are_refused(outputs: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as e:
        settings_of(outputs)
    assert said in str(e.value)


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (Named("p", frozenset(), frozenset({"x"})), "x of orders, x of p"),
        (Named("p", frozenset({"x.r1-a1"}), frozenset()), "x of orders, x.r1-a1 of p"),
        (Named("p", frozenset(), frozenset({"orders"})), "orders of orders, orders of p"),
    ],
)
def test_two_products_share_no_topic_that_one_writes(other: Named, found: str) -> None:
    mine = output_topics.named(settings_of({"o": {"topic": "x"}}))
    with pytest.raises(RefusedError, match="orders and p would share a topic") as e:
        refuse_shared(mine, other)
    assert e.value.found == found


def test_two_products_may_read_one_topic() -> None:
    mine = output_topics.named(settings_of({"o": {"topic": "x"}}))
    refuse_shared(mine, Named("p", frozenset({"orders"}), frozenset({"y"})))


@pytest.mark.parametrize(
    ("said", "java", "found"),
    [
        ({}, {}, ""),
        ({"backlog_checkpoint_interval": "5min"}, {}, ""),
        ({"backlog_checkpoint_interval": "10min"}, {}, "960 s"),
        ({"flink": {"execution.checkpointing.timeout": "20 min"}}, {}, "2,400 s"),
        (
            {"flink": {"execution.checkpointing.timeout": "20 min"}},
            {"transaction.timeout.ms": "2500000"},
            "",
        ),
        ({"flink": {"execution.checkpointing.min-pause": "6 MIN"}}, {}, "1,080 s"),
    ],
)
def test_a_transaction_must_outlast_two_checkpoints(
    tmp_path: Path, said: dict[str, Any], java: dict[str, str], found: str
) -> None:
    settings = make_settings(tmp_path).model_copy(update={"kafka_java": java})
    refuse_short_transactions(settings, settings_of({"o": {}}, **said))
    product = settings_of({"o": {"topic": "x"}}, **said)
    if not found:
        refuse_short_transactions(settings, product)
        return
    with pytest.raises(RefusedError, match=r"transaction\.timeout\.ms") as e:
        refuse_short_transactions(settings, product)
    assert found in e.value.found


def test_only_what_readers_may_see_has_topics() -> None:
    product = control_platform.product()
    first, *_ = product.settings.outputs
    outputs = {**product.settings.outputs, first: OutputSettings(topic="x")}
    settings = product.settings.model_copy(update={"outputs": outputs})
    with_topic = product.model_copy(update={"settings": settings})
    assert of_attempt(product, ATTEMPT) == {}
    assert of_attempt(with_topic, ATTEMPT) == {first: "x.r2-a1"}
    shadow = Attempt("orders", 2, 2, 0.0, 1, ("j",), shadow=True)
    assert of_attempt(with_topic, shadow) == {}


def test_a_topic_is_part_of_what_a_release_computes_and_needs_a_replay() -> None:
    product = products.orders()
    outputs = product.settings.outputs
    name = next(iter(outputs))
    changed = {**outputs, name: outputs[name].model_copy(update={"topic": "x"})}
    with_topic = with_outputs(product, changed)
    assert "output_topics" not in computation.settings(product)
    assert computation.settings(with_topic)["output_topics"] == {name: ["x", outputs[name].key]}
    old, new = (plan.Version(p, {}, computation.parts(p, {})) for p in (product, with_topic))
    told = [(r.kind, r.where, r.what) for r in plan.compare(old, new).reasons]
    assert told == [
        (
            Kind.replay,
            f"table {name}",
            "topic: none → x; each attempt writes one of its own, from offset zero",
        )
    ]
    keyed = {**changed, name: changed[name].model_copy(update={"key": ("order_id",)})}
    old, new = (
        new,
        plan.Version(
            with_outputs(product, keyed), {}, computation.parts(with_outputs(product, keyed), {})
        ),
    )
    assert old.parts != new.parts
    assert [(r.kind, r.where, r.what) for r in plan.compare(old, new).reasons] == [
        (Kind.replay, f"table {name}", "the key of its topic's records: not said → order_id")
    ]


def with_outputs(product: Product, outputs: dict[str, OutputSettings]) -> Product:
    return product.model_copy(
        update={"settings": product.settings.model_copy(update={"outputs": outputs})}
    )


def bindings(written: dict[str, str]) -> Bindings:
    made = output_topics.bound(products.orders(), "kappa-orders-r2-a1", written)
    return Bindings.model_validate(
        {
            "attempt": "orders-r2-a1",
            "branch": "r2-a1",
            "group": "kappa-orders-r2-a1",
            "kafka": {"bootstrap.servers": "b:1"},
            "registry": "http://r",
            "catalog": {"name": "c", "options": {"warehouse": "w"}},
            "namespace": "orders",
            "parallelism": 1,
            "checkpoint_interval": "1s",
            "checkpoint_dir": "file:///c",
            **made,
        }
    )


def test_a_sink_is_told_of_its_topic_and_only_then() -> None:
    assert output_topics.bound(products.orders(), "g", {}) == {}
    bound = bindings({"order_rows": "x.r2-a1"})
    topic = {k: v for k, v in sink_options("order_rows", bound).items() if k.startswith("topic.")}
    assert topic == {
        "topic.name": "x.r2-a1",
        "topic.transactional-id-prefix": "kappa-orders-r2-a1-order_rows",
        "topic.source": "/kappa/orders/order_rows",
        "topic.type": "orders.order_rows",
        "topic.key": "order_id",
        "topic.time": "ordered_at",
        "topic.properties.transaction.timeout.ms": "900000",
        "topic.properties.max.request.size": "16777216",
        "topic.properties.bootstrap.servers": "b:1",
    }
    assert not [k for k in sink_options("hourly_orders", bound) if k.startswith("topic.")]
    hourly = bindings({"hourly_orders": "y.r2-a1"}).output_topics["hourly_orders"]
    assert (hourly.key, hourly.time) == (("shop", "hour"), "hour")


def test_permissions_name_topics_and_transactions_by_their_prefix() -> None:
    without = of_product("orders", ["o"])
    more = [acl for acl in of_product("orders", ["o"], ["x"]) if acl not in without]
    assert {
        (a.who, a.resource_type, a.resource_name, a.pattern_type, a.operation) for a in more
    } == {
        (Role.job, "TOPIC", "x.", "PREFIXED", "WRITE"),
        (Role.job, "TRANSACTIONAL_ID", "kappa-orders-", "PREFIXED", "WRITE"),
        (Role.controller, "TOPIC", "x.", "PREFIXED", "CREATE"),
        (Role.controller, "TOPIC", "x.", "PREFIXED", "DELETE"),
        (Role.controller, "TOPIC", "x.", "PREFIXED", "DESCRIBE_CONFIGS"),
    }
    acl = Acl(Role.job, "TRANSACTIONAL_ID", "kappa-orders-", "PREFIXED", "WRITE", "")
    (command,) = commands([acl], dict.fromkeys(Role, "User:x"), "b:1")
    assert command.endswith(
        "--operation Write --transactional-id kappa-orders- --resource-pattern-type prefixed"
    )


@dataclass
class Broker:
    """Topics by name, each with as many offsets."""

    there: dict[str, int] = field(default_factory=dict)
    created: list[topics.Wanted] = field(default_factory=list)

    def create(self, _: object, wanted: topics.Wanted) -> None:
        self.created.append(wanted)
        self.there[wanted.name] = 0

    def look(self, _: object, wanted: list[str]) -> list[topics.Topic]:
        return [topics.Topic(n, 1, {0: 0}, {0: self.there[n]}, {}) for n in wanted]


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    made = Broker()
    monkeypatch.setattr(topics, "missing", lambda _, wanted: wanted.name not in made.there)
    monkeypatch.setattr(topics, "create", made.create)
    monkeypatch.setattr(topics, "look", made.look)
    monkeypatch.setattr(
        "replay.kafka.log.end_offsets", lambda _, wanted: {t: {0: 1, 1: 1, 2: 1} for t in wanted}
    )
    return made


def test_a_topic_has_as_many_partitions_as_the_events_and_is_made_once(
    tmp_path: Path, broker: Broker
) -> None:
    attempt = Attempt("orders", 2, 1, 0.0, 1, ("j",), topics={"order_rows": "x.r2-a1"})
    for _ in range(2):  # the controller died in between
        output_topics.create(make_settings(tmp_path), products.orders(), attempt)
    assert broker.created == [topics.Wanted("x.r2-a1", 3, largest_record=LARGEST_RECORD)]


def test_a_product_without_events_has_topics_too(tmp_path: Path, broker: Broker) -> None:
    product = products.orders()
    topics_of = {
        name: topic.model_copy(update={"role": model.Role.reference})
        for name, topic in product.settings.topics.items()
    }
    settings = product.settings.model_copy(update={"topics": topics_of})
    product = product.model_copy(update={"settings": settings})
    attempt = Attempt("orders", 2, 1, 0.0, 1, ("j",), topics={"order_rows": "x.r2-a1"})
    output_topics.create(make_settings(tmp_path), product, attempt)
    assert [wanted.partitions for wanted in broker.created] == [3]


def test_an_older_program_does_not_forget_them() -> None:
    attempt = Attempt("orders", 2, 1, 0.0, 1, ("j",))
    assert attempt.to_json()["version"] == 1
    with_topics = replace(attempt, topics={"order_rows": "x.r2-a1"})
    assert with_topics.to_json()["version"] == 2


def test_a_topic_that_is_there_already_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topics, "names", lambda _: ["a", "x.r2-a1"])
    output_topics.refuse_taken(make_settings(tmp_path), ["y.r2-a1"])
    with pytest.raises(RefusedError, match=r"there is a topic x\.r2-a1 already"):
        output_topics.refuse_taken(make_settings(tmp_path), ["x.r2-a1", "y.r2-a1"])


@dataclass
class Saved:
    """A store that only remembers what was saved last."""

    last: Attempt | None = None

    def save(self, _: object, *attempts: Attempt, durable: bool = True) -> None:
        (self.last,) = attempts


class WithTopic(control_platform.FakePlatform):
    """Its product has an output that is a topic."""

    def product(self, attempt: Attempt, state: ProductState) -> Product:
        found = super().product(attempt, state)
        outputs = dict.fromkeys(found.settings.outputs, OutputSettings())
        outputs[next(iter(outputs))] = OutputSettings(topic="x")
        settings = found.settings.model_copy(update={"outputs": outputs})
        return found.model_copy(update={"settings": settings})


def test_a_topic_of_somebody_else_is_never_the_attempts_own_to_delete() -> None:
    saved, attempt = Saved(), replace(ATTEMPT, product="flights")
    platform = WithTopic(control_platform.Clock(), taken_topics={"x.r2-a1"})
    release = Release("flights", 2, "f", 0.0, {})
    state = ProductState("flights", releases=(release,), attempts=(attempt,))
    context = Context(
        platform,
        cast(Store, saved),
        cast(Lease, None),
        state,
        now=lambda: 1.0,
        keepalive=lambda: None,
    )
    perform(context, step.Submit(attempt))
    assert saved.last
    assert saved.last.stop is State.failed
    assert saved.last.topics == {}
    platform.taken_topics.clear()
    perform(context, step.Submit(attempt))
    assert saved.last.submitted_at
    assert list(saved.last.topics.values()) == ["x.r2-a1"]


def test_a_topic_that_is_gone_is_not_made_again_under_its_attempt(
    tmp_path: Path, broker: Broker
) -> None:
    attempt = Attempt(
        "orders", 2, 1, 0.0, 1, ("j",), topics={"order_rows": "x.r2-a1"}, submitted_at=1.0
    )
    with pytest.raises(RefusedError, match="would go on with an empty one"):
        output_topics.create(make_settings(tmp_path), products.orders(), attempt)
    assert broker.created == []


def test_an_attempt_remembers_its_topics() -> None:
    attempt = Attempt("orders", 2, 1, 0.0, 1, ("j",), topics={"order_rows": "x.r2-a1"})
    assert Attempt.from_json(attempt.to_json()) == attempt
