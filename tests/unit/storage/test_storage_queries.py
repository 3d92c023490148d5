"""Queries of a study's history."""

from __future__ import annotations

import math
from typing import Any

import pytest
import sqlalchemy as sa

from phyletic.records import Evaluation, TrialState
from phyletic.storage import queries

DONE = TrialState.COMPLETED


def test_the_best_trials_have_finite_scores_and_ties_go_to_the_later_trial(studied: Any, trial: Any) -> None:
    scores = [0.5, math.nan, 2.0, None, math.inf, -3.0, 2.0, -math.inf, 0.5]
    rows = [(trial(n, score=score, state=DONE), None) for n, score in enumerate(scores)]
    rows.append((trial(len(scores), score=9.0, state=TrialState.RUNNING), None))
    studied.write(inserted=rows)
    assert [found.number for found in studied.read(queries.best_trials, "max", 9)] == [6, 2, 8, 0, 5]
    assert [found.number for found in studied.read(queries.best_trials, "min", 9)] == [5, 8, 0, 6, 2]
    assert [found.number for found in studied.read(queries.best_trials, "max", 1)] == [6]


def test_a_lineage_goes_from_the_newborn_to_the_trial(studied: Any, trial: Any) -> None:
    parents = {0: None, 1: None, 2: 0, 3: 1, 4: 2, 5: 2, 6: 5}
    studied.write(inserted=[(trial(n, parent=parent), None) for n, parent in parents.items()])
    assert [found.number for found in studied.read(queries.lineage, 6)] == [0, 2, 5, 6]
    assert [found.number for found in studied.read(queries.lineage, 1)] == [1]
    assert studied.read(queries.lineage, 7) == []


def test_trials_by_number_state_and_member(studied: Any, trial: Any) -> None:
    states = list(TrialState)
    studied.write(inserted=[(trial(n, state=states[n % 5]), None) for n in range(20)])
    assert [found.number for found in studied.read(queries.trials)] == list(range(20))
    failed = studied.read(queries.trials, [TrialState.FAILED])
    assert [found.number for found in failed] == [4, 9, 14, 19]
    assert sorted(studied.read(queries.trials_by_number, [9, 3, 99])) == [3, 9]
    assert [found.number for found, _, _ in studied.read(queries.open_trials)] == [0, 1, 5, 6, 10, 11, 15, 16]
    assert studied.read(queries.trial, 20) is None
    assert studied.read(queries.told_digest, 0) is None
    assert studied.read(queries.told_digest, 20) is None


def test_evaluations_of_all_and_of_some_trials(studied: Any) -> None:
    rows = [(n, Evaluation(step, "accuracy", n + step / 10)) for n in (2, 0, 1) for step in (3, 1, 2)]
    studied.write(evaluations=rows)
    assert studied.read(queries.evaluations) == sorted(rows, key=lambda row: row[0])
    assert studied.read(queries.evaluations, [1, 2, 1]) == [*rows[6:], *rows[:3]]
    assert studied.read(queries.evaluations, []) == []
    assert studied.read(queries.evaluations, range(50_000)) == studied.read(queries.evaluations)


@pytest.mark.parametrize(
    ("function", "arguments", "index"),
    [
        ("open_trials", (), "trial_open"),
        ("trials_of_members", (), "sqlite_autoindex_trial_1"),
        ("best_trials", ("max", 1), "trial_by_score"),
        ("checkpoints", (["durable"],), "checkpoint_kept"),
    ],
)
def test_frequent_queries_use_an_index(studied: Any, function: str, arguments: Any, index: str) -> None:
    plans = []

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        rows = connection.connection.driver_connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        plans.extend(row[3] for row in rows)

    with studied.store.read() as connection:
        sa.event.listen(connection, "before_cursor_execute", explain)
        getattr(queries, function)(connection, studied.id, *arguments)
        sa.event.remove(connection, "before_cursor_execute", explain)
    assert any(f"INDEX {index}" in plan for plan in plans), plans
