"""Names of properties that only one of the two Kafka clients knows: librdkafka's, and Java's.

A name that both have means the same to both, but for `ssl.keystore.location`: to librdkafka it is a PKCS #12 file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LIBRDKAFKA = frozenset(
    {
        "enable.ssl.certificate.verification",
        "sasl.mechanisms",
        "sasl.oauthbearer.client.id",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.config",
        "sasl.oauthbearer.extensions",
        "sasl.oauthbearer.method",
        "sasl.oauthbearer.scope",
        "sasl.password",
        "sasl.username",
        "ssl.ca.certificate.stores",
        "ssl.ca.location",
        "ssl.ca.pem",
        "ssl.certificate.location",
        "ssl.certificate.pem",
        "ssl.key.location",
        "ssl.key.pem",
        "enable.sasl.oauthbearer.unsecure.jwt",
        "debug",
        "log_level",
        "broker.address.family",
        "socket.timeout.ms",
        "socket.keepalive.enable",
        "api.version.request",
        "message.max.bytes",
        "fetch.message.max.bytes",
    }
)
JAVA = frozenset(
    {
        "config.providers",
        "sasl.client.callback.handler.class",
        "sasl.jaas.config",
        "sasl.login.callback.handler.class",
        "sasl.login.class",
        "ssl.enabled.protocols",
        "ssl.engine.factory.class",
        "ssl.keymanager.algorithm",
        "ssl.keystore.certificate.chain",
        "ssl.keystore.key",
        "ssl.keystore.type",
        "ssl.protocol",
        "ssl.trustmanager.algorithm",
        "ssl.truststore.certificates",
        "ssl.truststore.location",
        "ssl.truststore.password",
        "ssl.truststore.type",
    }
)


def mixed(kafka: Mapping[str, Any], kafka_java: Mapping[str, Any]) -> str:
    """What stands where its client does not know it; empty: nothing."""
    if wrong := sorted(JAVA & kafka.keys()):
        return (
            f"{', '.join(wrong)} in `kafka_java`: `kafka` is for librdkafka, which does not know it"
        )
    if wrong := sorted(LIBRDKAFKA & kafka_java.keys()):
        return f"{', '.join(wrong)} in `kafka`: `kafka_java` is for Flink's Kafka client, which does not know it"
    return ""


def of_both(kafka: Mapping[str, Any], kafka_java: Mapping[str, Any]) -> dict[str, Any]:
    """What the Java client got when it got both: without what it does not know."""
    found = {key: value for key, value in {**kafka, **kafka_java}.items() if key not in LIBRDKAFKA}
    return found if found.keys() - {"bootstrap.servers"} else dict(kafka_java)
