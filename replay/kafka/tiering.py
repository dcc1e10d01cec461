"""A topic whose older segments are in a remote tier (KIP-405): what it needs to stay whole. Pure.

Its first offset stays 0 when segments are deleted from brokers' disks, so what local.retention.ms and
local.retention.bytes say deletes no record. Two other things do: switching the tier off, which Kafka allows only
together with deleting what is in it, and losing the topic in which brokers keep where each remote segment is.
"""

from __future__ import annotations

from collections.abc import Mapping

ENABLE = "remote.storage.enable"
DELETE_ON_DISABLE = "remote.log.delete.on.disable"
INDEX = "__remote_log_metadata"
"""Kafka's own topic of remote segments; other implementations of its index have none of this name."""

Config = Mapping[str, str | None]


def is_tiered(config: Config) -> bool:
    """Whether older segments of a topic with this configuration are moved to the remote tier."""
    return config.get(ENABLE) == "true"


def may_be_deleted(config: Config) -> bool:
    """Whether one more command, `remote.storage.enable=false`, deletes what is in the remote tier."""
    return is_tiered(config) and config.get(DELETE_ON_DISABLE) == "true"


def beginning(offset: int, config: Config) -> str:
    """What is found of a partition that begins behind offset 0, with the likely reason."""
    found = f"it begins at offset {offset}"
    if not is_tiered(config) and config.get(DELETE_ON_DISABLE) == "true":
        found += (
            f"; {ENABLE}=false with {DELETE_ON_DISABLE}=true deletes all that is in the remote tier"
        )
    return found
