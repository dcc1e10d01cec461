"""`python -m bench.raw`: reads topics with a plain consumer, decodes nothing, and says what that cost.

Standard input is JSON: `kafka` (the client's properties) and `ends` (topic → partition → offset to read to).
"""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

_AT_ONCE = 10_000
_SILENCE = 60.0


def main() -> None:
    """Print seconds, seconds of CPU and the peak of memory of this process, as JSON."""
    asked = json.load(sys.stdin)
    began, cpu = time.monotonic(), time.process_time()
    read(
        asked["kafka"],
        {topic: {int(p): end for p, end in ends.items()} for topic, ends in asked["ends"].items()},
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kB
    sys.stdout.write(
        json.dumps(
            {
                "seconds": round(time.monotonic() - began, 2),
                "peak_memory_mb": peak >> 10,
                "cpu_seconds": round(time.process_time() - cpu, 2),
            }
        )
        + "\n"
    )


def read(kafka: dict[str, Any], ends: dict[str, dict[int, int]]) -> None:
    """All records up to the ends; KafkaException for what the broker refuses, TimeoutError when nothing comes."""
    # By default it rests for a second whenever its queue is full.
    consumer = Consumer(
        {
            **kafka,
            "group.id": "kappa-bench",
            "enable.auto.commit": False,
            "fetch.queue.backoff.ms": 5,
        }
    )
    left = {(topic, p): end for topic, of in ends.items() for p, end in of.items() if end > 0}
    try:
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for topic, p in left])
        heard = time.monotonic()
        while left:
            messages: list[Any] = consumer.consume(_AT_ONCE, timeout=1.0)
            for message in messages:
                if (error := message.error()) is not None:
                    raise KafkaException(error)
                place = message.topic(), message.partition()
                if message.offset() + 1 >= left.get(place, sys.maxsize):
                    del left[place]
                    consumer.incremental_unassign([TopicPartition(*place)])
            heard = time.monotonic() if messages else heard
            if time.monotonic() - heard > _SILENCE:
                raise TimeoutError(f"nothing came for {_SILENCE:.0f} s of {sorted(left)}")
    finally:
        consumer.close()


if __name__ == "__main__":
    main()
