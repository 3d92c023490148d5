"""The tables, defined once for every database.

Every key begins with the study, so that all rows of a study lie together and a study's work never reads another's.
Numbers and states are columns; what is only ever read whole (hyperparameters, decisions) is JSON text.

Indexes cost a page per commit each, so there are few, and partial ones where few rows are ever looked for. They are
partial in SQLite, the one database in use; to say it for another here would import that one's dialect each time.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from phyletic.records import Decision, Measured, SavedState, StudyControl, StudyIdentity, Timings
from phyletic.storage.columns import Json, Metrics, Number

metadata = sa.MetaData()

study = sa.Table(
    "study",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("uuid", sa.Text, nullable=False),
    sa.Column("identity", Json(StudyIdentity), nullable=False),
    sa.Column("control", Json(StudyControl), nullable=False),
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
    sa.Column("clock", sa.Double),  # of the owner, at its latest write
    sa.Column("best", Json(tuple[int, ...]), nullable=False),
    sa.Column("created", sa.Double, nullable=False),
)

trial = sa.Table(
    "trial",
    metadata,
    sa.Column("study", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("member", sa.BigInteger, nullable=False),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("parent", sa.BigInteger),
    sa.Column("start_step", sa.BigInteger, nullable=False),
    sa.Column("steps", sa.BigInteger),
    sa.Column("seconds", sa.Double),
    sa.Column("end_step", sa.BigInteger),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("score", Number),
    sa.Column("hyperparameters", Json(dict[str, Any]), nullable=False),
    sa.Column("decision", Json(Decision), nullable=False),
    sa.Column("metrics", Metrics, nullable=False),
    sa.Column("applied", Json(dict[str, Any]), nullable=False),
    sa.Column("remarks", Json(tuple[str, ...]), nullable=False),
    sa.Column("timings", Json(Timings), nullable=False),
    sa.Column("checkpoint", sa.Text),
    sa.Column("saved", Json(SavedState)),
    sa.Column("worker", sa.Text),
    sa.Column("session", sa.Text),
    sa.Column("fence", sa.BigInteger, nullable=False),
    sa.Column("token", sa.Text),
    sa.Column("publishes", sa.Text),  # the checkpoint id of its running attempt
    sa.Column("digest", sa.Text),
    sa.Column("attempts", sa.BigInteger, nullable=False),
    sa.Column("failures", sa.BigInteger, nullable=False),
    sa.Column("losses", sa.BigInteger, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("started", sa.Double),
    sa.Column("finished", sa.Double),
    # sequence numbers of the writes that decided and ended it
    sa.Column("decided", sa.BigInteger, nullable=False),
    sa.Column("ended", sa.BigInteger),
)
# SQLite uses a partial index only where the query repeats its condition without parameters: hence literal values.
IS_OPEN = trial.c.state.in_([sa.literal_column("'waiting'"), sa.literal_column("'running'")])
sa.Index("trial_open", trial.c.study, trial.c.number, sqlite_where=IS_OPEN)
sa.Index("trial_by_end", trial.c.study, trial.c.ended, sqlite_where=trial.c.ended.is_not(None))
sa.Index("trial_by_score", trial.c.study, trial.c.score, sqlite_where=trial.c.score.is_not(None))

# A place in the population, as the owner holds it: written in the transaction that changes it.
member = sa.Table(
    "member",
    metadata,
    sa.Column("study", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("member", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("latest", sa.BigInteger, nullable=False),
    sa.Column("head", sa.BigInteger),
    sa.Column("tip", sa.BigInteger),
    sa.Column("kept_first", sa.BigInteger),
    sa.Column("kept_second", sa.BigInteger),
    sa.Column("kept_third", sa.BigInteger),
    sa.Column("failed", sa.Boolean, nullable=False),
    sa.Column("early_stopped", sa.Boolean, nullable=False),
    sa.Column("best_score", Number),
    sa.Column("measured", Json(Measured), nullable=False),
    sa.Column("open_measured", Json(Measured), nullable=False),
    sqlite_with_rowid=False,
)

evaluation = sa.Table(
    "evaluation",
    metadata,
    sa.Column("study", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("trial", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("step", sa.BigInteger, nullable=False),
    sa.Column("metric", sa.Text, nullable=False),
    sa.Column("value", Number, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)

checkpoint = sa.Table(
    "checkpoint",
    metadata,
    sa.Column("study", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("trial", sa.BigInteger, nullable=False),
    sa.Column("fence", sa.BigInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("digest", sa.Text),
    sa.Column("size", sa.BigInteger),
    sa.Column("pinned", sa.Boolean, nullable=False),
    sqlite_with_rowid=False,
)
IS_KEPT = checkpoint.c.state != sa.literal_column("'collected'")
sa.Index("checkpoint_kept", checkpoint.c.study, checkpoint.c.trial, checkpoint.c.fence, sqlite_where=IS_KEPT)

session = sa.Table(
    "session",
    metadata,
    sa.Column("study", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("session", sa.Text, primary_key=True),
    sa.Column("worker", sa.Text, nullable=False),
    sa.Column("pid", sa.BigInteger),
    sa.Column("pid_created", sa.Double),
    sa.Column("lease_seconds", sa.Double),
    sa.Column("deadline", sa.Double),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("joined", sa.Double, nullable=False),
    sa.Column("left", sa.Double),
    sqlite_with_rowid=False,
)

event = sa.Table(
    "event",
    metadata,
    sa.Column("study", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("trial", sa.BigInteger),
    sa.Column("payload", Json(dict[str, Any]), nullable=False),
    sqlite_with_rowid=False,
)
