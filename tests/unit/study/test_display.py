"""The live display: layout, timing and wording."""

from __future__ import annotations

import io
import math

import msgspec
import pytest
from rich.console import Console

from phyletic.errors import InvalidArgument
from phyletic.records import Budget, Change, Decision, Metric, Timings, Trial, TrialState
from phyletic.storage.changes import Counters
from phyletic.study.display import LiveDisplay, choose, render
from phyletic.study.progress import (
    MemberProgress,
    Progress,
    change_text,
    lineage_text,
    number_text,
    short_names,
    summary_lines,
    time_left,
)
from phyletic.workers.fleet_protocol import Starting


def a_trial(number: int = 9, state: TrialState = TrialState.COMPLETED, **changes: object) -> Trial:
    values = {
        "number": number,
        "member": 1,
        "generation": 1,
        "parent": None,
        "hyperparameters": {"lr": 0.05, "layers": 2},
        "start_step": 100,
        "steps": 100,
        "seed": 0,
        "state": state,
        "decision": Decision(kind="continue"),
        "end_step": None if state.open or state is TrialState.FAILED else 200,
        "score": 0.9 if state is TrialState.COMPLETED else None,
    }
    return Trial(**{**values, **changes})


def a_member(member: int) -> MemberProgress:
    changes = (
        Change("optimizer.lr", 0.02 * (member + 1), 0.01 * (member + 1), "x0.5"),
        Change("layers", 1, 2, "redrawn"),
    )
    decision = Decision(kind="continue", changes=changes, donor_member=0 if member == 2 else None)
    trial = a_trial(
        member + 8,
        member=member,
        parent=member,
        decision=decision,
        hyperparameters={"optimizer.lr": 0.01 * (member + 1), "layers": 2, "activation": "relu"},
        worker=f"local-{member}",
    )
    state = "running" if member < 2 else "waiting"
    return MemberProgress(
        member=member, state=state, step=100 * member, score=0.5 + member / 100, best=0.6, trial=trial
    )


def a_progress(members: int = 4, **changes: object) -> Progress:
    counted = {"completed": 12, "exploits": 3, "member_steps": 1200}
    counted |= {name: changes.pop(name) for name in list(changes) if name in Counters.__struct_fields__}
    values = {
        "study": "digits",
        "storage": "sqlite:///digits.db",
        "metric": Metric("accuracy", "max"),
        "budget": Budget(steps=1000),
        "limit": 1000,
        "members": tuple(a_member(member) for member in range(members)),
        "counters": Counters(**counted),
        "open": 4,
        "seconds": 10.0,
        "best": a_trial(),
    }
    return Progress(**{**values, **changes})


def drawn(progress: Progress, width: int = 80, **options: object) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width, force_terminal=False).print(render(progress, 61.0, width=width, **options))
    return stream.getvalue().splitlines()


def shown(progress: Progress, *, verbose: int = 1, terminal: bool = False, notes: tuple[Trial, ...] = ()) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=80, height=24, force_terminal=terminal, highlight=False)
    with LiveDisplay(verbose=verbose, console=console) as display:
        display.update(progress)
        for trial in notes:
            display.note(trial)
    return stream.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
@pytest.mark.parametrize("members", [1, 8, 100])
def test_every_line_fits_the_terminal(width: int, members: int) -> None:
    lines = drawn(a_progress(members), width)
    assert max(len(line.rstrip()) for line in lines) <= width


def test_the_least_important_columns_go_first() -> None:
    wide, narrow = "\n".join(drawn(a_progress(), 120)), "\n".join(drawn(a_progress(), 44))
    for word in ("step", "accuracy", "lr", "layers", "activation", "from", "best", "worker"):
        assert word in wide
    header = drawn(a_progress(), 44)[1]
    assert "step" in header
    assert "accuracy" in header
    assert "worker" not in header
    assert "activation" not in narrow


def test_changes_of_hyperparameters_are_shown() -> None:
    text = "\n".join(drawn(a_progress(), 100))
    assert "0.01 ×0.5" in text
    assert "2 ↑1" in text
    assert "←0" in text


def test_the_best_and_worst_of_many_members_are_shown() -> None:
    upper, lower = choose(a_progress(100), 30)
    assert [member.member for member in upper][:3] == [99, 98, 97]
    assert lower[-1].member == 0
    assert len(upper) + len(lower) == 29
    assert "29 of 100 members" in "\n".join(drawn(a_progress(100)))
    upper, lower = choose(a_progress(100, metric=Metric("loss", "min")), 30)
    assert upper[0].member == 0


def test_a_non_finite_score_ranks_last_and_is_shown() -> None:
    odd = MemberProgress(member=40, state="waiting", score=math.nan)
    progress = a_progress(40, nonfinite=1)
    progress = msgspec.structs.replace(progress, members=(odd, *progress.members))
    assert choose(progress, 10)[1][-1].member == 40
    text = "\n".join(drawn(progress))
    assert "nan" in text
    assert "1 score not finite" in text


def test_columns_never_shrink_between_updates() -> None:
    widths: dict[str, int] = {}
    long = a_progress()
    wide = drawn(long, 80, widths=widths)
    bare = tuple(MemberProgress(member=member.member, state="idle", step=1) for member in long.members)
    short = drawn(msgspec.structs.replace(long, members=bare), 80, widths=widths)
    assert drawn(msgspec.structs.replace(long, members=bare), 80)[1] != short[1]
    assert short[1].index("step") == wide[1].index("step")


def test_a_silent_display_prints_nothing() -> None:
    assert shown(a_progress(), verbose=0, notes=(a_trial(state=TrialState.FAILED, error="boom"),)) == ""


def test_verbose_is_checked() -> None:
    with pytest.raises(InvalidArgument, match="verbose is 3"):
        LiveDisplay(verbose=3)


def test_plain_lines_report_progress_exploits_and_failures() -> None:
    decision = Decision(
        kind="exploit", donor=4, donor_member=3, inherited="both", changes=(Change("lr", 0.1, 0.05, "x0.5"),)
    )
    exploit = a_trial(state=TrialState.RUNNING, decision=decision)
    failed = a_trial(state=TrialState.FAILED, error="Traceback\nValueError: boom", attempts=3)
    text = shown(a_progress(), notes=(exploit, failed, a_trial(number=30)))
    lines = text.splitlines()
    assert lines[0].startswith("0:00:10 | steps 0-300 | 12 trials")
    assert lines[1] == "member 1 exploit: takes weights and hyperparameters of member 3 at step 100; lr 0.1 to 0.05"
    assert lines[2].endswith("failed after 3 attempts: ValueError: boom")
    assert len(lines) == 3
    assert "\x1b" not in text


def test_a_verbose_display_reports_every_trial() -> None:
    text = shown(a_progress(), verbose=2, notes=(a_trial(number=30), a_trial(number=31, state=TrialState.PARTIAL)))
    assert "trial 30: step 100 to 200, score 0.9" in text
    assert "trial 31: step 100 to 200, handed back early" in text


def test_a_line_is_printed_per_generation_and_for_the_last_snapshot() -> None:
    now = [0.0]
    stream = io.StringIO()
    console = Console(file=stream, width=80, force_terminal=False)
    with LiveDisplay(console=console, clock=lambda: now[0]) as display:
        for completed in range(21):
            now[0] += 2.0 if completed % 4 == 0 else 0.1
            display.update(a_progress(completed=completed))
    told = [line.split(" | ")[2].split()[0] for line in stream.getvalue().splitlines()]
    assert told == ["0", "4", "8", "12", "16", "20"]


def test_the_table_is_redrawn_rarely() -> None:
    now = [0.0]
    stream = io.StringIO()
    console = Console(file=stream, width=80, height=24, force_terminal=True)
    with LiveDisplay(console=console, clock=lambda: now[0]) as display:
        for _ in range(1000):
            now[0] += 0.001
            display.update(a_progress())
    assert 1 < stream.getvalue().count("digits: accuracy (max)") < 10


def test_time_left_follows_the_first_limit() -> None:
    first = a_progress(completed=10, member_steps=1000, seconds=0.0)
    now = a_progress(completed=20, member_steps=2000, seconds=10.0)
    # 4 members at 0, 100, 200 and 300 of 1000 steps: 3400 steps left, at 100 per second
    assert time_left(first, now) == pytest.approx(34.0)
    limited = a_progress(completed=20, member_steps=2000, seconds=10.0, budget=Budget(trials=25))
    assert time_left(first, limited) == pytest.approx(5.0)
    timed = a_progress(budget=Budget(seconds=60.0), active_seconds=58.0, completed=20, member_steps=2000)
    assert time_left(first, timed) == pytest.approx(2.0)
    assert time_left(now, now) is None


def test_the_summary_names_the_best_trial_its_lineage_and_the_locations() -> None:
    lineage = [a_trial(0, member=0, start_step=0, end_step=100), a_trial(5, member=2, parent=0), a_trial(9, parent=5)]
    lines = summary_lines(a_progress(nonfinite=2), lineage, {"checkpoint": "/there"})
    text = "\n".join(lines)
    assert "best accuracy 0.9 (max): trial 9 of member 1, step 200" in text
    assert "lineage of 3 trials: member 0 to step 100, then member 2 to step 200, then member 1 to step 200" in text
    assert "scores that were NaN or infinite: 2" in text
    assert "storage: sqlite:///digits.db" in text
    assert "checkpoint: /there" in text
    assert "no trial of digits has a finite accuracy yet" in summary_lines(a_progress(best=None))[0]


def test_changes_numbers_and_names_are_written_briefly() -> None:
    assert change_text(True, False) == "←True"
    assert change_text(0.0, 0.5) == "↑0"
    assert change_text(1e-4, 0.05) == "×500"
    assert number_text(-math.inf) == "-inf"
    assert short_names(["a.lr", "b.lr"]) == {"a.lr": "a.lr", "b.lr": "b.lr"}
    assert short_names(["learning_rate_actor", "learning_rate_critic"]) == {
        "learning_rate_actor": "…_rate_actor",
        "learning_rate_critic": "…rate_critic",
    }
    assert lineage_text([]) == ""
    long = [a_trial(number, member=number % 2, end_step=200 + number) for number in range(40)]
    assert "then 34 other members, then member 1 to step 237" in lineage_text(long)


def test_the_last_line_is_not_printed_twice() -> None:
    stream = io.StringIO()
    with LiveDisplay(console=Console(file=stream, width=80, force_terminal=False)) as display:
        display.update(a_progress(seconds=1.0))
        display.update(a_progress(seconds=2.0))
    assert len(stream.getvalue().splitlines()) == 1


def test_time_shares_sum_over_workers() -> None:
    text = "\n".join(drawn(a_progress(timings=Timings(training=9.0, saving=1.0))))
    assert "training 90% saving 10%" in text
    assert "loading" not in text


def starting(ready: int, seconds: float) -> Starting:
    return Starting(workers=2, ready=ready, seconds=seconds)


def test_plain_lines_say_that_workers_start_and_at_most_every_ten_seconds() -> None:
    now = [0.0]
    stream = io.StringIO()
    with LiveDisplay(console=Console(file=stream, width=80, force_terminal=False), clock=lambda: now[0]) as display:
        for second in range(26):
            now[0] = float(second)
            display.update(a_progress(open=0, completed=0, starting=starting(second // 20, second)))
        # a worker that is started again later is not worth a line unless it takes long
        display.update(a_progress(completed=0, starting=starting(1, 0.3)))
        now[0] = 60.0
        display.update(a_progress(completed=0, starting=starting(1, 3.0)))
    lines = [line for line in stream.getvalue().splitlines() if "|" not in line]
    assert lines == ["starting 2 workers", "starting 2 workers, 10 s", "1 of 2 workers ready, 20 s"]
    assert stream.getvalue().splitlines()[:3] == lines


def test_the_table_says_that_workers_start_until_all_are_ready() -> None:
    assert drawn(a_progress(starting=starting(0, 8.4)))[-1].strip() == "starting 2 workers, 8 s"
    assert drawn(a_progress(starting=starting(1, 9.0)))[-1].strip() == "1 of 2 workers ready, 9 s"
    assert "workers" not in "\n".join(drawn(a_progress()))


def test_a_column_shows_what_open_trials_reported_and_stays() -> None:
    widths: dict[str, int] = {}
    progress = a_progress()
    assert "now" not in drawn(progress, widths=widths)[1]
    first, *others = progress.members
    moved = msgspec.structs.replace(progress, members=(msgspec.structs.replace(first, reported=0.125), *others))
    lines = drawn(moved, widths=widths)
    assert "now" in lines[1]
    assert "0.125" in lines[2]
    assert "now" in drawn(progress, widths=widths)[1]


def test_without_a_commit_plain_lines_are_rare() -> None:
    now = [0.0]
    stream = io.StringIO()
    with LiveDisplay(console=Console(file=stream, width=80, force_terminal=False), clock=lambda: now[0]) as display:
        for second in range(130):
            now[0] = float(second)
            display.update(a_progress())
    assert len(stream.getvalue().splitlines()) == 3


def test_the_time_left_counts_the_steps_of_running_trials() -> None:
    def at(step: int, seconds: float) -> Progress:
        member = MemberProgress(member=0, state="running", step=step, trial=a_trial(state=TrialState.RUNNING))
        return msgspec.structs.replace(a_progress(seconds=seconds), members=(member,))

    assert time_left(at(100, 0.0), at(150, 10.0)) == pytest.approx(170.0)
