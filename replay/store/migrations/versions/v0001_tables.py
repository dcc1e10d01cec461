"""The tables of a store that has no version yet: they are as they were before there were versions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from replay.errors import RefusedError

revision = "0001"
down_revision = None

_meta = sa.MetaData()
_leases = sa.Table(
    "leases",
    _meta,
    sa.Column("product", sa.String, primary_key=True),
    sa.Column("holder", sa.String, nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("expires", sa.Float, nullable=False),
)
_releases = sa.Table(
    "releases",
    _meta,
    sa.Column("product", sa.String, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("fingerprint", sa.String, nullable=False),
    sa.Column("git_commit", sa.String),
    sa.Column("computation", sa.String, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("reference_offsets", sa.JSON, nullable=False),
)
_attempts = sa.Table(
    "attempts",
    _meta,
    sa.Column("product", sa.String, primary_key=True),
    sa.Column("release", sa.Integer, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("body", sa.JSON, nullable=False),
)
_publications = sa.Table(
    "publications",
    _meta,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("product", sa.String, nullable=False, index=True),
    sa.Column("release", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("checkpoint", sa.BigInteger, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("before", sa.JSON, nullable=False),
    sa.Column("after", sa.JSON, nullable=False),
    sa.Column("covered", sa.JSON, nullable=False),
    sa.Column("started", sa.Float, nullable=False),
    sa.Column("finished", sa.Float),
)
_events = sa.Table(
    "events",
    _meta,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("product", sa.String, nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("attempt", sa.String, nullable=False),
    sa.Column("what", sa.String, nullable=False),
    sa.Column("detail", sa.String, nullable=False),
)


def upgrade() -> None:
    """RefusedError when a table has other columns: it was written by a kappa whose stores cannot be upgraded."""
    connection = op.get_bind()
    inspector = sa.inspect(connection)
    there = inspector.get_table_names()
    for table in _meta.sorted_tables:
        if table.name not in there:
            table.create(connection)
            continue
        expected, found = (
            {c.name for c in table.columns},
            {c["name"] for c in inspector.get_columns(table.name)},
        )
        if expected != found:
            raise RefusedError(
                f"the store's table {table.name} has an unknown form",
                expected=f"columns {', '.join(sorted(expected))}",
                found=", ".join(sorted(found)),
                next="use the kappa that wrote it, or give this one another `store` in config.yaml",
            )
