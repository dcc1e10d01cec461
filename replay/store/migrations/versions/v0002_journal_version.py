"""Every entry of the publish journal says of which version it is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """What is there was written before there were versions: it is of version 1."""
    op.add_column(
        "publications", sa.Column("version", sa.Integer, nullable=False, server_default="1")
    )
