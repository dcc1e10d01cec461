"""The tables of the controller's store, in the form of `VERSION`.

A change of them is a new version, with a migration in `migrations/versions` that brings the form before to it.
"""

from __future__ import annotations

import sqlalchemy as sa

VERSION = "0002"
"""The newest migration."""

meta = sa.MetaData()

version = sa.Table(
    "store_version",
    meta,  # as Alembic has it, under a name that is ours alone: the database may be the catalog's too
    sa.Column("version_num", sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint("version_num", name="store_version_pkc"),
)
leases = sa.Table(
    "leases",
    meta,
    sa.Column("product", sa.String, primary_key=True),
    sa.Column("holder", sa.String, nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("expires", sa.Float, nullable=False),
)
releases = sa.Table(
    "releases",
    meta,
    sa.Column("product", sa.String, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("fingerprint", sa.String, nullable=False),
    sa.Column("git_commit", sa.String),
    sa.Column("computation", sa.String, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("reference_offsets", sa.JSON, nullable=False),
)
attempts = sa.Table(
    "attempts",
    meta,
    sa.Column("product", sa.String, primary_key=True),
    sa.Column("release", sa.Integer, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("body", sa.JSON, nullable=False),
)
publications = sa.Table(
    "publications",
    meta,
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
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
)
events = sa.Table(
    "events",
    meta,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("product", sa.String, nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("attempt", sa.String, nullable=False),
    sa.Column("what", sa.String, nullable=False),
    sa.Column("detail", sa.String, nullable=False),
)
