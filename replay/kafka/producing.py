"""Append records to a topic, each once and in order, and know what became of every one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from replay.avro.json_lines import LineError, Message
from replay.errors import KappaError, RefusedError, RetryableError
from replay.secret import revealed, shown
from replay.settings import Settings

DELIVERY_TIMEOUT = 120
"""Seconds that a record may wait for a broker that is away."""

# Idempotent: every record once and in order, also when the broker dies and comes back in between. Keys choose
# partitions as they do in Java's client, so that a key's records stay together with every producer.
_PRODUCER = {
    "enable.idempotence": True,
    "partitioner": "murmur2_random",
    "linger.ms": 20,
    "compression.type": "lz4",
    "message.max.bytes": 64 << 20,
    "delivery.timeout.ms": DELIVERY_TIMEOUT * 1000,
    "reconnect.backoff.max.ms": 1000,
    "log_level": 0,
}


@dataclass
class Appended:
    """What the broker took."""

    records: int = 0
    heartbeats: int = 0
    """In every partition each."""
    offsets: dict[int, tuple[int, int]] = field(default_factory=dict)
    """First and last offset per partition."""
    backwards: int = 0
    """Records dated before one that stands ahead of them in their partition."""
    clocks: dict[int, int] = field(default_factory=dict)
    bad: LineError | None = None
    """The line at which it stopped; all before it are in the log."""


class Appender:
    """PlatformWriter messages to a producer until one is bad; nothing that was handed over is lost without a word."""

    def __init__(self, settings: Settings, topic: str, partitions: Iterable[int]) -> None:
        self._topic, self._partitions = topic, sorted(partitions)
        self._producer = Producer({**revealed(settings.kafka), **_PRODUCER})
        self._settings = settings
        self._error: KafkaError | None = None
        self.done = Appended()

    def append(self, messages: Iterable[Message | LineError]) -> Appended:
        """Until the first bad line, and until the broker has all before it; RetryableError if it stays away."""
        try:
            for message in messages:
                if isinstance(message, LineError):
                    self.done.bad = message
                    break
                if message.heartbeat and message.partition is None:
                    self.done.heartbeats += 1
                    for partition in self._partitions:
                        self._send(message, partition)
                else:
                    self._send(message, message.partition)
                self._refuse_failed()
        finally:  # also what was sent before Ctrl-C
            remaining = self._producer.flush(DELIVERY_TIMEOUT)
        self._refuse_failed()
        if remaining:
            raise RetryableError(
                "Kafka did not take every record",
                expected=f"an answer within {DELIVERY_TIMEOUT} s",
                found=f"{remaining:,} records without one",
                next="kappa status",
            )
        return self.done

    def _send(self, message: Message, partition: int | None) -> None:
        if partition is not None and partition not in self._partitions:
            raise RefusedError(
                f"line {message.line}: topic {self._topic} has no partition {partition}",
                expected=f"0 to {self._partitions[-1]}",
                found=str(partition),
                next=f"kappa topic describe {self._topic}",
            )
        options: dict[str, Any] = {} if partition is None else {"partition": partition}
        if message.timestamp is not None:
            options["timestamp"] = message.timestamp
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    message.value,
                    message.key,
                    headers=list(message.headers),
                    on_delivery=self._delivered,
                    **options,
                )
                break
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as e:
                raise self._failure(e.args[0]) from e
        self._producer.poll(0)

    def _delivered(self, error: KafkaError | None, message: Any) -> None:
        if error is not None:
            self._error = self._error or error
            return
        partition, offset, timestamp = message.partition(), message.offset(), message.timestamp()[1]
        done = self.done
        if message.value() is not None or message.key() is not None:
            done.records += 1
            done.backwards += timestamp < done.clocks.get(partition, timestamp)
        done.clocks[partition] = max(timestamp, done.clocks.get(partition, timestamp))
        first, last = done.offsets.get(partition, (offset, offset))
        done.offsets[partition] = (min(first, offset), max(last, offset))

    def _refuse_failed(self) -> None:
        if self._error is not None:
            raise self._failure(self._error)

    def _failure(self, error: KafkaError) -> KappaError:
        said = f"{error.str()}; {self.done.records:,} records were taken before it"
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            return RefusedError(
                f"topic {self._topic} takes no record that large",
                found=said,
                next=f"kafka-configs --alter --entity-type topics --entity-name {self._topic} "
                "--add-config max.message.bytes=…",
            )
        return RetryableError(
            f"Kafka did not take every record of {self._topic}",
            expected=shown(self._settings.kafka).get("bootstrap.servers", ""),
            found=said,
            next=f"kappa topic describe {self._topic}",
        )


def check(
    messages: Iterable[Message | LineError], most: int = 20
) -> tuple[Appended, list[LineError]]:
    """What would be appended, and the first bad lines; appends nothing."""
    done, bad = Appended(), []
    for message in messages:
        if isinstance(message, LineError):
            bad.append(message)
            if len(bad) == most:
                break
        elif message.heartbeat:
            done.heartbeats += 1
        else:
            done.records += 1
    return done, bad
