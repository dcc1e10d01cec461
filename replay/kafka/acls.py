"""What each of three principals may do at the broker: who produces, the jobs of a product, and its controller.

Each operation is one that kappa, or Flink's connector for it, performs: tests/integration/test_permissions.py asks with
these and nothing else. What an operation of Kafka implies is not said again: READ, WRITE and DELETE imply
DESCRIBE.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from replay.core.model import group_prefix

READER_GROUP = "kappa-reader"
"""Of clients that read without committing: never joined, but its coordinator is looked for."""


class Role(StrEnum):
    """Roles, each of which should be a principal of its own."""

    producer = "producer"
    """Appends to the product's topics: producers, or `kappa topic produce`."""
    job = "job"
    """`kafka_java` in config.yaml: Flink's sources."""
    controller = "controller"
    """`kafka` in config.yaml: the controller, and those who deploy, audit and compare. It cannot write."""


@dataclass(frozen=True)
class Acl:
    """One permission, in the words of Kafka."""

    who: Role
    resource_type: str
    resource_name: str
    pattern_type: str
    operation: str
    why: str


def of_product(product: str, topics: Iterable[str], written: Iterable[str] = ()) -> list[Acl]:
    """The least with which a product runs that reads topics, and whose outputs are written to others."""
    outputs = sorted(written)
    return [
        *(acl for topic in sorted(topics) for acl in _of_topic(topic)),
        *(acl for topic in outputs for acl in _of_output_topic(topic)),
        *(_of_transactions(product) if outputs else ()),
        *_of_groups(product),
    ]


def _of_output_topic(topic: str) -> Iterator[Acl]:
    """Of an output's topics: those of all attempts begin with the name in product.yaml, and a dot."""
    for who, operation, why in (
        (Role.job, "WRITE", "write an output's rows"),
        (Role.controller, "CREATE", "create the topic of an attempt"),
        (Role.controller, "DELETE", "delete the topic of an attempt that is removed"),
        (Role.controller, "DESCRIBE_CONFIGS", "look at a topic that is there already"),
    ):
        yield Acl(who, "TOPIC", f"{topic}.", "PREFIXED", operation, why)


def _of_transactions(product: str) -> Iterator[Acl]:
    yield Acl(
        Role.job,
        "TRANSACTIONAL_ID",
        group_prefix(product),
        "PREFIXED",
        "WRITE",
        "commit rows with the job's checkpoints",
    )


def _of_topic(topic: str) -> Iterator[Acl]:
    for who, operation, why in (
        (Role.producer, "WRITE", "append records"),
        (Role.producer, "DESCRIBE_CONFIGS", "kappa topic produce asks who dates the records"),
        (Role.job, "READ", "read the log from offset zero"),
        (Role.controller, "READ", "audit, verify, peek and the clock of a partition read records"),
        (
            Role.controller,
            "DESCRIBE_CONFIGS",
            "the preflight looks at retention, compaction and who dates the records",
        ),
    ):
        yield Acl(who, "TOPIC", topic, "LITERAL", operation, why)


def _of_groups(product: str) -> Iterator[Acl]:
    prefix = group_prefix(product)
    yield Acl(Role.job, "GROUP", prefix, "PREFIXED", "READ", "commit offsets, for display")
    yield Acl(Role.controller, "GROUP", prefix, "PREFIXED", "DESCRIBE", "show committed offsets")
    yield Acl(
        Role.controller,
        "GROUP",
        prefix,
        "PREFIXED",
        "DELETE",
        "forget the group of an attempt that is removed",
    )
    yield Acl(
        Role.controller,
        "GROUP",
        READER_GROUP,
        "LITERAL",
        "DESCRIBE",
        "the client looks for its coordinator",
    )


def commands(acls: Iterable[Acl], principals: Mapping[Role, str], bootstrap: str) -> list[str]:
    """`kafka-acls` of Kafka's distribution, one command for each principal and resource."""

    def of_one(acl: Acl) -> tuple[str, str, str, str]:
        return acl.who, acl.resource_type, acl.resource_name, acl.pattern_type

    found = []
    for (who, kind, name, pattern), group in groupby(sorted(acls, key=of_one), of_one):
        operations = [word for acl in group for word in ("--operation", _spelt(acl.operation))]
        found.append(
            shlex.join(
                [
                    "kafka-acls",
                    "--bootstrap-server",
                    bootstrap,
                    "--command-config",
                    "admin.properties",
                    "--add",
                    "--allow-principal",
                    principals[Role(who)],
                    *operations,
                    f"--{kind.lower().replace('_', '-')}",
                    name,
                    *(["--resource-pattern-type", "prefixed"] if pattern == "PREFIXED" else []),
                ]
            )
        )
    return found


def _spelt(operation: str) -> str:
    """As kafka-acls has it: DescribeConfigs."""
    return "".join(word.capitalize() for word in operation.split("_"))
