"""How trials, studies and schedules show themselves: a few lines, and plain tables in notebooks."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

import phyletic as ph
from phyletic.records import Decision, Trial, TrialState
from phyletic.study.schedule import Segment


class _Cells(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        assert tag in ("table", "caption", "thead", "tbody", "tr", "th", "td")
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1] in ("th", "td"):
            self.rows[-1][-1] += data


def cells(html: str) -> list[list[str]]:
    """Return the texts of a table, which must be well formed."""
    return _Cells(html).rows


def a_trial(**changes: object) -> Trial:
    given = {
        "number": 12, "member": 3, "generation": 1, "parent": 4, "start_step": 100, "steps": 100, "seed": 1,
        "hyperparameters": {"lr": 0.0123456789, "kind": "<b>"}, "state": TrialState.COMPLETED,
        "decision": Decision(kind="continue"), "end_step": 200, "score": 0.97161234,
    }  # fmt: skip
    return Trial(**{**given, **changes})


@pytest.fixture
def study() -> ph.Study:
    study = ph.Study(
        "a<b", space={"lr": ph.Float(0.1, 1.0)}, metric="score", mode="max", seed=0,
        algorithm=ph.PBT(2, 5), budget=ph.Budget(steps=10),
    )  # fmt: skip
    for trial in study.attach(lambda trial: {"x": 0.0}):
        trial.report(score=trial["lr"], steps_done=5)
    return study


def test_a_printed_trial_is_a_few_lines() -> None:
    assert str(a_trial()) == (
        "trial 12 of member 3, completed, steps 100 to 200, score 0.971612\n  lr 0.0123457\n  kind <b>"
    )
    many = a_trial(hyperparameters={f"layer{number}.rate": 0.1 for number in range(300)})
    assert len(str(many).splitlines()) < 24
    assert str(many).endswith("and 280 more hyperparameters")
    assert max(map(len, str(a_trial(hyperparameters={"text": "x" * 5000})).splitlines())) < 120
    failed = a_trial(state=TrialState.FAILED, end_step=None, score=None, error="Traceback\nValueError: no luck")
    assert "failed, steps 100 to 200\n" in str(failed)
    assert str(failed).endswith("error: ValueError: no luck")


def test_a_notebook_shows_a_trial_as_a_table() -> None:
    rows = cells(a_trial()._repr_html_())
    assert rows == [
        ["state", "completed"], ["steps", "100 to 200"], ["score", "0.971612"], ["decision", "continue"],
        ["lr", "0.0123457"], ["kind", "<b>"],
    ]  # fmt: skip


def test_a_notebook_shows_a_study_as_a_table(study: ph.Study) -> None:
    assert repr(study) == "Study('a<b', storage='the database in memory')"
    assert "<b" not in study._repr_html_()
    shown = dict(cells(study._repr_html_()))
    assert (shown["state"], shown["trials"], shown["budget"]) == ("finished", "4 completed", "steps 10")
    assert shown["best"].startswith(f"{study.best.score:.6g}: trial {study.best.number}")
    unborn = ph.Study("new", space={"x": ph.Float(0, 1)}, metric="m", mode="min", algorithm=ph.PBT(2, 5))
    assert dict(cells(unborn._repr_html_()))["trials"] == "none"


def test_a_notebook_shows_a_schedule_as_a_table() -> None:
    schedule = ph.Schedule((Segment(0, 5, {"lr": 0.1}), Segment(5, 9, {"lr": 0.2, "a&b": "x"})))
    assert cells(schedule._repr_html_()) == [["steps", "lr", "a&b"], ["0 to 5", "0.1", ""], ["5 to 9", "0.2", "x"]]
    long = ph.Schedule(tuple(Segment(step, step + 1, {"lr": 0.1 * step}) for step in range(500)))
    rows = cells(long._repr_html_())
    assert len(rows) == 62
    assert rows[31] == ["… 440 more"]
    assert cells(ph.Schedule(())._repr_html_()) == [["steps"]]
