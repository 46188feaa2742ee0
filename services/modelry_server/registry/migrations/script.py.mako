"""${message}

Release: unreleased
"""

import sqlalchemy as sa
from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Expands the schema; contracting comes a release later."""
    ${upgrades if upgrades else "pass"}
