"""What is typed for each `next:` of a message, where one product `orders` runs; and why the others are not typed."""

from __future__ import annotations

from pathlib import Path

ORDERS = str(Path(__file__).parent / "products" / "orders")

TYPED = {
    "acls PRODUCT": ("acls", "orders"),
    "attempts 1": ("attempts", "orders"),
    "audit 1": ("audit", "orders"),
    "check 1": ("check", ORDERS),
    "config": ("config",),
    "history 1": ("history", "orders"),
    "logs 1": ("logs", "controller"),
    "logs jobmanager": ("logs", "jobmanager"),
    "logs taskmanager": ("logs", "taskmanager"),
    "plan 1": ("plan", "orders"),
    "plan 1 --from 1": ("plan", "orders", "--from", ORDERS),
    "preview 1 --help": ("preview", "orders", "--help"),
    "preview 1 --last 1": ("preview", "orders", "--last", "1h"),
    "preview 1 --offsets 1": ("preview", "orders", "--offsets", "orders:0=0-20"),
    "preview 1 1": ("preview", "orders", "order_rows"),
    "query --help": ("query", "--help"),
    "query 1 --attempt 1 SELECT …": ("query", "orders", "--attempt", "r1", "SELECT 1"),
    "query 1 DESCRIBE 1": ("query", "orders", "DESCRIBE order_rows"),
    "query 1 SELECT * FROM 1 LIMIT 5": ("query", "orders", "SELECT * FROM order_rows LIMIT 5"),
    "query 1 SHOW TABLES": ("query", "orders", "SHOW TABLES"),
    "status": ("status",),
    "topic create --help": ("topic", "create", "--help"),
    "topic describe 1": ("topic", "describe", "orders"),
    "topic peek 1": ("topic", "peek", "orders"),
    "topic peek 11": ("topic", "peek", "orders"),
    "topic peek 1 --from beginning": ("topic", "peek", "orders", "--from", "beginning"),
    "topic peek 1 --partition 1 --from 1": (
        *("topic", "peek", "orders", "--partition", "0", "--from", "5"),
    ),
    "up": ("up",),
}
"""A message's command, with 1 for what is filled in, and what stands for that here."""

_JOB = "it changes what readers see, or starts or ends a job"
_FOLDER = "it writes into a product's folder"
_TOPIC = "it writes to the log or the registry"
_FILE = "no records of the product are written so"
_STACK = "it changes the stack that the other tests share"
_TESTS = "the product has no tests"
NOT_TYPED = {
    "abort 1": _JOB,
    "contract 1 --write": _FOLDER,
    "deploy 1": _JOB,
    "deploy 1 --again": _JOB,
    "deploy 1 --from 1": _JOB,
    "deploy 1 --no-auto-switch": _JOB,
    "deploy 1 --parallelism 1": _JOB,
    "deploy 11": _JOB,
    "diff 1": "there is no second attempt",
    "doctor": "what it says is of the machine",
    "doctor --catalog": "it writes to the catalog",
    "doctor --catalog --namespace NAME": "it writes to the catalog",
    "down": _STACK,
    "load flights": _TOPIC,
    "maintain 1": _JOB,
    "new 1": _FOLDER,
    "new 1 --to ANOTHER": _FOLDER,
    "new 1 --topic 1 --raw": _FOLDER,
    "new NAME --topic T": _FOLDER,
    "new … --format json": _FOLDER,
    "new … --format json --from-schema FILE.json": _FOLDER,
    "new … --format json-confluent": _FOLDER,
    "new … --format protobuf --from-schema FILE.proto": _FOLDER,
    "new … --format protobuf-confluent": _FOLDER,
    "new … --from-schema FILE": _FOLDER,
    "new … --from-schema FILE.avsc": _FOLDER,
    "prepare 1 --branch byhand": _JOB,
    "pull 1 --from 1": _FOLDER,
    "remove 1": _JOB,
    "remove 1 --yes 1": _JOB,
    "retire 1": _JOB,
    "rollback 1": _JOB,
    "status 1 --watch": "it does not end by itself",
    "switch 1": _JOB,
    "switch 1 1": _JOB,
    "test 1": _TESTS,
    "test PRODUCT": _TESTS,
    "topic create 1": _TOPIC,
    "topic create 1 --schema FILE.avsc": _TOPIC,
    "topic create 11": _TOPIC,
    "topic peek 1 --format avro --schema FILE.avsc": _FILE,
    "topic peek 1 --format avro-single-object --schema FILE.avsc": _FILE,
    "topic produce 1 --json": _TOPIC,
    "topic produce 1 FILE": _TOPIC,
    "topic produce 1 FILE --format avro-single-object --schema FILE.avsc": _TOPIC,
    "topic produce 1 FILE --json": _TOPIC,
    "up --port-base 1": _STACK,
    "up --taskmanagers 1": _STACK,
    "up --tiered": _STACK,
    "verify 1": _JOB,
    "verify 1 --parallelism 1": _JOB,
    "why 1.1": "it runs the product over the records behind a row, which its own tests do",
}
