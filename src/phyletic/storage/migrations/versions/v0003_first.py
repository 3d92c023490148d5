"""The first schema.

Revision ID: 0003
Create Date: 2025-01-01
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make all tables."""
    op.create_table(
        "study",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("uuid", sa.Text, nullable=False),
        sa.Column("identity", sa.Text, nullable=False),
        sa.Column("control", sa.Text, nullable=False),
        sa.Column("next_trial", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("completed", sa.BigInteger, nullable=False),
        sa.Column("partial", sa.BigInteger, nullable=False),
        sa.Column("failed", sa.BigInteger, nullable=False),
        sa.Column("exploits", sa.BigInteger, nullable=False),
        sa.Column("rescues", sa.BigInteger, nullable=False),
        sa.Column("nonfinite", sa.BigInteger, nullable=False),
        sa.Column("failures_in_a_row", sa.BigInteger, nullable=False),
        sa.Column("nonfinite_in_a_row", sa.BigInteger, nullable=False),
        sa.Column("since_best", sa.BigInteger, nullable=False),
        sa.Column("active_seconds", sa.Double, nullable=False),
        sa.Column("member_steps", sa.BigInteger, nullable=False),
        sa.Column("clock", sa.Double),
        sa.Column("best", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    _create_trial()
    _create_member()
    op.create_table(
        "evaluation",
        sa.Column("study", sa.Integer, nullable=False),
        sa.Column("trial", sa.BigInteger, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False),
        sa.Column("metric", sa.Text, nullable=False),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("study", "trial", "position"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "checkpoint",
        sa.Column("study", sa.Integer, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("trial", sa.BigInteger, nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("digest", sa.Text),
        sa.Column("size", sa.BigInteger),
        sa.Column("pinned", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("study", "id"),
        sqlite_with_rowid=False,
    )
    kept = sa.text("state != 'collected'")
    op.create_index(
        "checkpoint_kept", "checkpoint", ["study", "trial", "fence"], sqlite_where=kept, postgresql_where=kept
    )
    op.create_table(
        "session",
        sa.Column("study", sa.Integer, nullable=False),
        sa.Column("session", sa.Text, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("pid", sa.BigInteger),
        sa.Column("pid_created", sa.Double),
        sa.Column("lease_seconds", sa.Double),
        sa.Column("deadline", sa.Double),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("joined", sa.Double, nullable=False),
        sa.Column("left", sa.Double),
        sa.PrimaryKeyConstraint("study", "session"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "event",
        sa.Column("study", sa.Integer, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("trial", sa.BigInteger),
        sa.Column("payload", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("study", "sequence", "position"),
        sqlite_with_rowid=False,
    )


def _create_member() -> None:
    op.create_table(
        "member",
        sa.Column("study", sa.Integer, nullable=False),
        sa.Column("member", sa.BigInteger, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("latest", sa.BigInteger, nullable=False),
        sa.Column("head", sa.BigInteger),
        sa.Column("tip", sa.BigInteger),
        sa.Column("kept_first", sa.BigInteger),
        sa.Column("kept_second", sa.BigInteger),
        sa.Column("kept_third", sa.BigInteger),
        sa.Column("failed", sa.Boolean, nullable=False),
        sa.Column("early_stopped", sa.Boolean, nullable=False),
        sa.Column("best_score", sa.Double),
        sa.Column("measured", sa.Text, nullable=False),
        sa.Column("open_measured", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("study", "member"),
        sqlite_with_rowid=False,
    )


def _create_trial() -> None:
    op.create_table(
        "trial",
        sa.Column("study", sa.Integer, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("member", sa.BigInteger, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("parent", sa.BigInteger),
        sa.Column("start_step", sa.BigInteger, nullable=False),
        sa.Column("steps", sa.BigInteger),
        sa.Column("seconds", sa.Double),
        sa.Column("end_step", sa.BigInteger),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("score", sa.Double),
        sa.Column("hyperparameters", sa.Text, nullable=False),
        sa.Column("decision", sa.Text, nullable=False),
        sa.Column("metrics", sa.Text, nullable=False),
        sa.Column("applied", sa.Text, nullable=False),
        sa.Column("remarks", sa.Text, nullable=False),
        sa.Column("timings", sa.Text, nullable=False),
        sa.Column("checkpoint", sa.Text),
        sa.Column("saved", sa.Text),
        sa.Column("worker", sa.Text),
        sa.Column("session", sa.Text),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("token", sa.Text),
        sa.Column("publishes", sa.Text),
        sa.Column("digest", sa.Text),
        sa.Column("attempts", sa.BigInteger, nullable=False),
        sa.Column("failures", sa.BigInteger, nullable=False),
        sa.Column("losses", sa.BigInteger, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("started", sa.Double),
        sa.Column("finished", sa.Double),
        sa.Column("decided", sa.BigInteger, nullable=False),
        sa.Column("ended", sa.BigInteger),
        sa.PrimaryKeyConstraint("study", "number"),
    )
    is_open = sa.text("state IN ('waiting', 'running')")
    op.create_index("trial_open", "trial", ["study", "number"], sqlite_where=is_open, postgresql_where=is_open)
    ended = sa.text("ended IS NOT NULL")
    op.create_index("trial_by_end", "trial", ["study", "ended"], sqlite_where=ended, postgresql_where=ended)
    scored = sa.text("score IS NOT NULL")
    op.create_index("trial_by_score", "trial", ["study", "score"], sqlite_where=scored, postgresql_where=scored)
