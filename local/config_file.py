"""config.yaml of a home, as `kappa up` writes it for the stack there."""

from __future__ import annotations

import yaml

from local import flink, objects, registry
from local.layout import Layout, python
from replay.settings import VERSION

CONFIG_HEADER = (
    f"{objects.HEADER} for its embedded stack; remove this line to keep your own changes.\n"
)


def settings_of(layout: Layout) -> dict[str, object]:
    """config.yaml for this stack."""
    catalog, warehouse = layout.lake / "catalog.db", layout.lake / "warehouse"
    return {
        "version": VERSION,
        "kafka": {"bootstrap.servers": f"127.0.0.1:{layout.ports.kafka}"},
        "registry": registry.url(layout),
        "flink": {
            "rest": flink.session(layout).rest,
            "home": str(layout.flink),
            "checkpoints": layout.checkpoints.as_uri(),
            "clusters": [str(python()), "-m", "local.clusters", str(layout.home)],
        },
        "catalog": {
            "name": "lake",
            "flink": {
                "type": "iceberg",
                "catalog-impl": "org.apache.iceberg.jdbc.JdbcCatalog",
                "uri": f"jdbc:sqlite:{catalog}?busy_timeout=30000",
                "jdbc.schema-version": "V1",
                "warehouse": warehouse.as_uri(),
            },
            "pyiceberg": {
                "type": "sql",
                "uri": f"sqlite:///{catalog}",
                "warehouse": warehouse.as_uri(),
            },
        },
        "store": f"sqlite:///{layout.home / 'store.db'}",
        "secrets": str(layout.secrets),
        "controller": {"port": layout.ports.controller},
    }


def addresses(layout: Layout) -> dict[str, str]:
    """What a person or another client connects to."""
    return {
        "kafka": f"127.0.0.1:{layout.ports.kafka}",
        "registry": registry.url(layout),
        "flink": flink.session(layout).rest,
        "metrics": f"http://127.0.0.1:{layout.ports.controller}/metrics",
    }


def is_written(layout: Layout) -> bool:
    """Whether config.yaml is there, and one that `kappa up` wrote."""
    return layout.settings.exists() and layout.settings.read_text().startswith(
        CONFIG_HEADER.split(";")[0]
    )


def write_settings(layout: Layout) -> bool:
    """Write config.yaml unless a person made it their own; whether it was written."""
    if layout.settings.exists() and not is_written(layout):
        return False
    text = CONFIG_HEADER + yaml.safe_dump(settings_of(layout), sort_keys=False)
    fresh = layout.settings.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(layout.settings)
    return True
