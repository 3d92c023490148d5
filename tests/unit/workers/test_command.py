"""Trials that a command trains: its job, its report, its exit status, and what is refused."""

import json
import math
import os
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import psutil
import pytest

import phyletic as ph
from phyletic.coordinator.transitions import STOPPED_EARLY
from phyletic.errors import (
    CommandFailed,
    HyperparameterUnused,
    InvalidArgument,
    MetricMissing,
    ReportInvalid,
    StudyFailed,
    TrainingError,
)
from phyletic.records import TrialState
from phyletic.service.server import serving
from phyletic.testing.example import example_study, facts
from phyletic.workers.command import FACTS, make_command
from phyletic.workers.run_options import RunOptions

WORKERS = [0, 1, "grpc", "http"]
PYTHON = [sys.executable, "-I", "-S"]
BEGIN = """
import json, os, signal, sys, time
from pathlib import Path

job = json.loads(Path(os.environ["PHYLETIC_JOB"]).read_text())
here = Path(sys.argv[1])
start, steps = job["start_step"], job["steps"]
saved = Path(job["save_to"]) / "w"
w = float((Path(job["load_from"]) / "w").read_text()) if job["load_from"] else 0.0

def write(text):
    with open(job["report"], "a") as file:
        file.write(text)

def report(**values):
    write(json.dumps(values) + "\\n")

def first(name):
    done = here / name
    return not done.exists() and (done.touch() or True)

def train(steps):
    global w
    w += steps * job["hyperparameters"]["lr"]
    saved.write_text(repr(w))

"""
WELL = "train(steps)\nreport(score=w)\n"


def make(folder, **changes):
    settings = {
        "space": {"lr": ph.Float(1e-3, 1e-1, log=True)},
        "metric": "score",
        "mode": "max",
        "algorithm": ph.PBT(population=1, interval=5),
        "budget": ph.Budget(steps=10),
        "storage": folder / "study.db",
        "seed": 0,
    }
    return ph.Study("study", **{**settings, **changes})


def program(folder, body):
    """Write a program in Python, and return the command that runs it."""
    (folder / "program.py").write_text(BEGIN + textwrap.dedent(body))
    return [*PYTHON, str(folder / "program.py"), str(folder)]


def well(body):
    """Return a program's body that does something and then trains well."""
    return textwrap.dedent(body) + WELL


def run(folder, body, *, workers=0, options=None, **changes):
    study = make(folder, **changes)
    start(study, program(folder, body), workers, **(options or {}))
    return study


def start(study, command, workers, **options):
    """Run a study with a command.

    Args:
        study: The study.
        command: The command.
        workers: How many; or "grpc" or "http" for two workers of a server.
        **options: Of ``Study.run``.
    """
    if workers not in ("grpc", "http"):
        study.run(command=command, workers=workers, verbose=0, **options)
        return
    study.close()
    with (
        serving(study.storage, http_port=0) as server,
        ph.Study(study.name, storage=server.url if workers == "grpc" else server.http_url) as remote,
    ):
        remote.run(command=command, workers=2, verbose=0, **options)


# --- what the program is told -----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [2, "grpc", "http"])
def test_the_same_trials_wherever_the_command_runs(tmp_path, workers):
    (tmp_path / "there").mkdir()
    alone, study = example_study(tmp_path / "study.db"), example_study(tmp_path / "there" / "study.db")
    start(alone, program(tmp_path, WELL), 0)
    start(study, program(tmp_path / "there", WELL), workers)
    assert study.finished
    assert facts(study) == facts(alone)


@pytest.mark.parametrize("workers", WORKERS)
def test_the_job_says_all_that_a_trial_is(tmp_path, workers):
    body = well(
        """
        text = Path(os.environ["PHYLETIC_JOB"]).read_text()
        (here / f"job-{job['trial']}").write_text(text)
        (here / "place").write_text(os.environ["PHYLETIC_JOB"])
        """
    )
    space = {"lr": ph.Float(1e-3, 1e-1), "optimizer": ph.Choice({"sgd": {"momentum": ph.Choice([0.9, 0.99])}})}
    study = run(tmp_path, body, workers=workers, space=space)
    for trial in study.trials():
        job = json.loads((tmp_path / f"job-{trial.number}").read_text())
        assert set(job) == {*FACTS, "hyperparameters", "nested"}
        assert (job["trial"], job["member"], job["generation"]) == (trial.number, 0, trial.number)
        assert (job["start_step"], job["steps"], job["seconds"], job["seed"]) == (5 * trial.number, 5, None, trial.seed)
        assert job["hyperparameters"] == trial.hyperparameters
        momentum = trial.hyperparameters["optimizer.sgd.momentum"]
        assert job["nested"] == {"lr": trial.hyperparameters["lr"], "optimizer": {"sgd": {"momentum": momentum}}}
    first, second = study.trials()
    assert json.loads((tmp_path / "job-0").read_text())["load_from"] is None
    assert Path(job["load_from"]) == study.checkpoint_path(first).absolute()
    assert Path(job["save_to"]) == study.checkpoint_path(second).absolute()
    assert second.score == pytest.approx(5 * (first.hyperparameters["lr"] + second.hyperparameters["lr"]))
    # the folder of the job and the report goes with the trial
    assert not Path((tmp_path / "place").read_text()).parent.exists()


def test_arguments_are_filled_from_a_template(tmp_path):
    body = well("(here / f\"arguments-{job['trial']}\").write_text(json.dumps(sys.argv[2:]))\n")
    study = make(tmp_path, space={"lr": ph.Float(0.1, 1.0), "opt": {"kind": ph.Choice(["a", "b"])}, "depth": 3})
    template = [
        *("--lr", "{lr}", "{opt.kind}-{depth}", "--resume", "{load_from}", "{trial}/{member}/{generation}"),
        *("{start_step}+{steps}", "{seed}", "{save_to}", "{report}", "{{x}}", "{seconds}"),
    ]
    study.run(command=[*program(tmp_path, body), *template], workers=0, verbose=0)
    for trial in study.trials():
        given = json.loads((tmp_path / f"arguments-{trial.number}").read_text())
        load_from = [] if trial.newborn else ["--resume", str(study.checkpoint_path(trial.parent).absolute())]
        lr, kind = trial.hyperparameters["lr"], trial.hyperparameters["opt.kind"]
        assert given[: len(given) - 5] == [
            *("--lr", repr(lr), f"{kind}-3", *load_from, f"{trial.number}/0/{trial.number}"),
        ]
        facts = [f"{trial.start_step}+5", str(trial.seed), str(study.checkpoint_path(trial).absolute())]
        assert given[len(given) - 5 : -2] == facts
        assert given[-2].endswith("report.jsonl")
        assert given[-1] == "{x}"


@pytest.mark.parametrize("workers", WORKERS)
def test_threads_and_environment_reach_the_command(tmp_path, workers):
    names = ["OMP_NUM_THREADS", "MINE", "CUDA_VISIBLE_DEVICES"]
    body = well(f"(here / 'seen').write_text(' '.join(os.environ[name] for name in {names}))\n")
    options = {"threads": 3, "environment": {"MINE": "yes"}, "devices": ["GPU-a"]}
    run(tmp_path, body, workers=workers, options=options)
    assert (tmp_path / "seen").read_text() == "3 yes GPU-a"


# --- the report -------------------------------------------------------------------------------------------------


def test_lines_are_reported_while_the_command_runs(tmp_path):
    seen = []

    class Watch:
        def on_completed(self, study, change):
            seen.append([(said.step, said.metric, said.value, said.kind) for said in study.evaluations(change.trial)])

    body = """
    report(loss=0.5, step=start + 1)
    report(loss=0.25, score=float("nan"))
    report(score=float("inf"), step=start + steps)
    train(steps)
    """
    study = run(tmp_path, body, options={"callbacks": [Watch()]}, budget=ph.Budget(steps=5))
    assert repr(seen) == repr(
        [
            [
                (1, "loss", 0.5, "progress"),
                (1, "loss", 0.25, "progress"),
                (1, "score", math.nan, "progress"),
                (5, "score", math.inf, "final"),
            ]
        ]
    )
    assert study.trial(0).steps_done == 5


@pytest.mark.parametrize("end", ["", "\\n"])
def test_a_torn_last_line_is_waited_for(tmp_path, end):
    body = f"""
    train(steps)
    write('{{"score": 0.')
    time.sleep(0.3)
    write('25}}{end}')
    """
    study = run(tmp_path, body, budget=ph.Budget(steps=5))
    assert study.trial(0).score == 0.25


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('{"score": 1}\\n{"score": 0.', r"line 2 of the report of trial 0, which is not JSON .*: {\"score\": 0\."),
        ("score 0.3\\n", "line 1 .*not JSON"),
        ("[0.3]\\n", r"line 1 .*not a JSON object such as .*: \[0\.3\]"),
        ('\\n{"score": "0.3"}\\n', "line 2 .*not an object of numbers: 'score'"),
        ('{"score": true}\\n', "not an object of numbers"),
        ('{"score": 0.3, "step": 0.5}\\n', "step is 0.5, but must be a whole number of at least 0"),
        ('{"score": 0.3, "steps_done": 0}\\n', "steps_done is 0"),
        ('{"": 0.3}\\n', "names of 1 to 200 characters"),
        ("\\xff\\n", "not JSON"),
    ],
)
def test_a_line_that_is_no_json_object_of_numbers_ends_the_run(tmp_path, written, said):
    with pytest.raises(ReportInvalid, match=rf"(?s)command `.*program\.py.*{said}"):
        run(tmp_path, f"open(job['report'], 'ab').write(b'{written}')\n")
    assert all(trial.failures == 0 for trial in make(tmp_path).trials())


@pytest.mark.parametrize("workers", WORKERS)
def test_a_wrong_line_ends_a_command_that_goes_on(tmp_path, workers):
    began = time.monotonic()
    body = "(here / 'pid').write_text(str(os.getpid())); write('no\\n'); time.sleep(600)\n"
    with pytest.raises(ReportInvalid, match="not JSON"):
        run(tmp_path, body, workers=workers)
    assert time.monotonic() - began < 300
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_a_step_before_the_trials_start_is_refused(tmp_path):
    with pytest.raises(ReportInvalid, match="step is 1, but must be a whole number of at least 5"):
        run(tmp_path, WELL + "report(step=1)\n")


def test_a_report_that_is_written_anew_is_refused(tmp_path):
    body = """
    report(score=1.0, loss=2.0)
    time.sleep(0.5)
    open(job["report"], "w").write('{"score": 2}\\n')
    """
    with pytest.raises(ReportInvalid, match="made its report file shorter"):
        run(tmp_path, body)


# --- how it ends ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "trials"), [(0, [(0, 3, "completed")]), (75, [(0, 3, "partial")])])
def test_steps_done_may_be_said(tmp_path, status, trials):
    study = run(
        tmp_path,
        f"train(3)\nreport(score=w, steps_done=3)\nsys.exit({status} if job['trial'] == 0 else 0)\n",
        budget=ph.Budget(trials=1),
    )
    assert [(t.start_step, t.end_step, t.state.value) for t in study.trials()][:1] == trials


@pytest.mark.parametrize("workers", WORKERS)
def test_status_75_hands_a_trial_back_and_another_continues_it(tmp_path, workers):
    body = """
    if first("handed"):
        train(2)
        report(score=99.0, step=start + 2)
        sys.exit(75)
    train(steps)
    report(score=w)
    """
    study = run(tmp_path, body, workers=workers)
    handed, rest, last = study.trials()
    assert (handed.state, handed.score, handed.end_step) == (TrialState.PARTIAL, None, 2)
    assert (rest.start_step, rest.steps, rest.parent, rest.decision.kind) == (2, 3, 0, "resume")
    assert rest.hyperparameters == handed.hyperparameters
    assert rest.score == pytest.approx(5 * rest.hyperparameters["lr"])
    assert (last.start_step, last.end_step) == (5, 10)
    assert [trial.failures for trial in study.trials()] == [0, 0, 0]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("saved.write_text('1'); sys.exit(75)\n", "no line of its report has a step above start_step"),
        ("report(step=start + 1); sys.exit(75)\n", "the folder save_to is empty"),
    ],
)
def test_a_trial_handed_back_with_nothing_is_a_failure_and_never_endless(tmp_path, body, said):
    for error in (CommandFailed, StudyFailed):  # the first failure ends the first run
        with pytest.raises(error, match=rf"(?s)ended with status 75.*handed nothing back: {said}"):
            run(tmp_path, body)
    assert [trial.failures for trial in make(tmp_path).trials()][:1] == [3]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_failure_has_the_end_of_standard_error_and_the_trial_is_tried_again(tmp_path, workers, capfd):
    body = """
    if first("failed"):
        print("early", "." * 10_000, "the disk is gone", file=sys.stderr)
        sys.exit(3)
    train(steps)
    report(score=w)
    """
    with pytest.raises(StudyFailed if workers else CommandFailed, match="the disk is gone"):
        run(tmp_path, body, workers=workers)
    study = run(tmp_path, body, workers=workers)
    assert study.finished
    failed = study.trial(0)
    assert (failed.failures, failed.attempts) == (1, 2)
    assert "CommandFailed: the command `" in failed.error
    assert "of trial 0 ended with status 3; the end of its standard error:" in failed.error
    assert failed.error.endswith("the disk is gone")
    assert "early" not in failed.error
    # all of it goes where the worker's own goes
    log = capfd.readouterr().err if workers == 0 else (study.logs / "worker-0.log").read_text()
    assert "early ..." in log


def test_a_command_that_a_signal_kills_has_failed(tmp_path):
    with pytest.raises(CommandFailed, match=r"was killed by signal 9 \(SIGKILL\); it wrote no standard error"):
        run(tmp_path, "os.kill(os.getpid(), 9)\n", max_failures=1)


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize(("body", "reported"), [("", "nothing"), ("report(loss=1.0)\n", "loss")])
def test_status_0_without_the_metric_ends_the_run(tmp_path, workers, body, reported):
    with pytest.raises(MetricMissing, match=rf"command `.*program\.py.*status 0.*'score'.*reported was: {reported}\."):
        run(tmp_path, body, workers=workers)
    assert all(trial.failures == 0 for trial in make(tmp_path).trials())


def test_a_parent_that_saved_nothing_ends_the_run(tmp_path):
    with pytest.raises(TrainingError, match=r"trial 1 starts from trial 0, but the command .* left nothing in the fol"):
        run(tmp_path, "report(score=1.0)\n")


def test_what_a_command_leaves_running_ends_with_its_trial(tmp_path):
    body = """
    import subprocess
    for own in (False, True):  # in a session of its own too
        left = subprocess.Popen(["sleep", "600"], start_new_session=own)
        (here / f"left-{own}").write_text(str(left.pid))
    train(steps)
    report(score=w)
    """
    run(tmp_path, body, budget=ph.Budget(steps=5))
    for own in (False, True):
        pid = int((tmp_path / f"left-{own}").read_text())
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_command_may_close_its_streams(tmp_path):
    study = run(tmp_path, "os.close(1); os.close(2); time.sleep(0.2)\n" + WELL, budget=ph.Budget(steps=5))
    assert study.finished


def test_an_interval_in_seconds_needs_a_step(tmp_path):
    algorithm = ph.PBT(population=1, interval_seconds=0.1)
    body = "assert steps is None and job['seconds'] == 0.1\ntrain(4)\nreport(score=w, step=start + 4)\n"
    study = run(tmp_path, body, algorithm=algorithm, budget=ph.Budget(trials=2))
    assert [trial.end_step for trial in study.trials()] == [4, 8]
    with pytest.raises(TrainingError, match="no line of its report has a step"):
        run(tmp_path, "train(4)\nreport(score=w)\n", algorithm=algorithm, budget=ph.Budget(trials=3))


@pytest.mark.parametrize("heeds", [True, False])
@pytest.mark.parametrize("workers", WORKERS)
def test_a_hopeless_trial_is_ended_and_its_member_rescued(tmp_path, heeds, workers):
    # one that does not heed SIGTERM is killed after the grace
    body = f"""
    if job["member"] == 0 and job["generation"] == 0:
        if not {heeds}:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        report(score=float("nan"), step=start + 1)
        saved.write_text("half")
        time.sleep(600)
    train(steps)
    report(score=w)
    """
    algorithm = ph.PBT(population=3, interval=5, synchronous=True, early_stopping=ph.NonFiniteStopping())
    study = run(tmp_path, body, workers=workers, options={"grace": 0.5}, algorithm=algorithm)
    assert study.finished
    hopeless = study.trial(0)
    assert (hopeless.state, hopeless.end_step) == (TrialState.COMPLETED, 1)
    assert math.isnan(hopeless.score)
    assert [event.trial for event in study.events() if event.kind == STOPPED_EARLY] == [0]
    assert list(study.checkpoint_path(hopeless).iterdir()) == []  # nothing half written is kept
    rescue = next(trial for trial in study.trials() if trial.member == 0 and trial.generation == 1)
    assert rescue.decision.kind in ("exploit", "rescue")
    assert rescue.score > 0
    assert all(trial.failures == 0 for trial in study.trials())


@pytest.mark.parametrize("saves", [True, False])
@pytest.mark.parametrize("status", [0, 75])
@pytest.mark.parametrize("workers", WORKERS)
def test_a_budget_that_is_used_up_ends_the_command(tmp_path, saves, status, workers):
    body = f"""
    def hand_back(*_):
        if {saves}:
            train(1)
        sys.exit({status})

    report(score=w, step=start + 1)
    if {saves} or not {status}:
        signal.signal(signal.SIGTERM, hand_back)
    time.sleep(600)
    """
    study = run(tmp_path, body, workers=workers, budget=ph.Budget(seconds=1.0))
    assert study.finished
    (trial,) = [trial for trial in study.trials() if trial.attempts]
    assert (trial.state, trial.failures) == (TrialState.PARTIAL if saves else TrialState.WAITING, 0)


# --- what is refused before anything begins -----------------------------------------------------------------------

LR = {"lr": ph.Float(0.1, 1.0)}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ([], "command is .* a list of texts"),
        ("python train.py", r"command is 'python train.py', but must be a list of texts.*shlex.split"),
        (3, "command is 3"),
        (["true", 3], r"command\[1\] is 3"),
        (["true", "a\0"], r"command\[1\] is .* without NUL"),
        ([""], r"command\[0\] is ''"),
        (["{lr}"], r"command\[0\] is .* without placeholders"),
        (["true", "{lrr}"], r"command\[1\] is .* without \{lrr\}: the placeholders are lr, trial.*Did you mean 'lr'"),
        (["no-such-program"], r"command is \['no-such-program'\].*one of the folders of PATH \(.*put its folder into"),
        (["./no/such"], "in a place that exists"),
        ([__file__], "found and executable"),
    ],
)
@pytest.mark.parametrize("workers", [0, 1])
def test_what_cannot_be_a_command_is_refused_before_a_trial_is_granted(tmp_path, command, said, workers):
    study = make(tmp_path, space=LR)
    with pytest.raises(InvalidArgument, match=said):
        study.run(command=command, workers=workers, verbose=0)
    assert study.trials() == []
    assert not study.owner.begun


def test_one_of_train_and_command_is_given(tmp_path):
    study = make(tmp_path)
    with pytest.raises(InvalidArgument, match=r"command is .* left out if train is given"):
        study.run(lambda trials: None, command=["true"], verbose=0)
    with pytest.raises(InvalidArgument, match=r"train is None, .* unless command is given"):
        study.run(verbose=0)
    assert study.trials() == []


def test_a_program_is_looked_for_on_the_path_of_the_workers(tmp_path):
    (tmp_path / "mine").symlink_to("/bin/sh")
    for folder, found in ((tmp_path, True), (Path("/"), False)):
        options = RunOptions(workers=1, environment={"PATH": str(folder)})
        try:
            make_command(["mine"], ph.Space(LR), "score", options)
        except InvalidArgument:
            assert not found
        else:
            assert found


def test_a_script_without_an_interpreter_is_named(tmp_path):
    script = tmp_path / "script"
    script.write_text("echo\n")
    script.chmod(0o755)
    with pytest.raises(InvalidArgument, match=r"command is .* could not: Exec format error. Begin a script with"):
        make(tmp_path).run(command=[str(script)], workers=0, verbose=0)


def test_arguments_that_name_some_hyperparameters_name_all_that_may_change(tmp_path):
    space = ph.Space({**LR, "width": ph.Choice([1, 2], fixed=True), "momentum": ph.Float(0, 1)})
    with pytest.raises(HyperparameterUnused, match=r"name \{lr\} but not \{momentum\}, so"):
        make_command(["true", "{lr}"], space, "score", RunOptions())
    make_command(["true", "{lr}", "{momentum}"], space, "score", RunOptions())
    make_command(["true", "{load_from}"], space, "score", RunOptions())


def test_nothing_stays_in_the_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    os.mkdir(tmp_path / "temporary")  # noqa: PTH102
    run(tmp_path, WELL)
    with pytest.raises(StudyFailed):
        run(tmp_path, "sys.exit(1)\n", budget=ph.Budget(steps=15))
    assert list((tmp_path / "temporary").iterdir()) == []
