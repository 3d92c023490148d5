"""While a checkpoint is uploaded its worker trains another member's trial; the tell, and what follows on it, wait."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import cloudpickle
import held_blobs
import numpy as np
import pytest
from held_blobs import hold_uploads

import phyletic as ph
from phyletic.coordinator.messages import Ask, Done, Fail, Tell
from phyletic.coordinator.owner_channel import OwnerChannel
from phyletic.errors import CheckpointError, InvalidArgument, MetricMissing
from phyletic.records import Evaluation, TrialState
from phyletic.testing.example import example_study, facts, reference
from phyletic.testing.training import Journal, drawing, start_process
from phyletic.workers.background_upload import BackgroundUpload
from phyletic.workers.detached import detached_source
from phyletic.workers.live_trial import attempt_of

COMPLETED, RUNNING, WAITING = TrialState.COMPLETED, TrialState.RUNNING, TrialState.WAITING


def make(folder, population=2, *, trials=6, synchronous=False, interval=1, budget=None, **options):
    return ph.Study(
        "study",
        space={"lr": ph.Float(0.1, 1.0)},
        metric="score",
        mode="max",
        algorithm=ph.PBT(population, interval, synchronous=synchronous),
        budget=budget or ph.Budget(trials=trials),
        storage=folder / "study.db",
        seed=0,
        **options,
    )


def build(trial):
    return {"weights": np.zeros(3)}


def training(folder, body=lambda trial: None, seconds=0.0, **options):
    """Return training code with a slow store, and something to do in each body after its steps."""

    def train(trials):
        hold_uploads(trials, folder, seconds, **options)
        for trial in trials.attach(build):
            for _ in trial.range():
                trial.state.weights += trial["lr"]
            trial.report(score=float(trial.state.weights.sum()))
            body(trial)

    return train


def states(study):
    return [trial.state for trial in study.trials()]


def hold_after(folder, uploads):
    """Hold the uploads that follow on the first ones."""
    Journal(folder / "puts").wait_for(2 * uploads)
    (folder / "hold").touch()


def release(folder):
    (folder / "hold").unlink(missing_ok=True)


# --- what waits, and what does not ------------------------------------------------------------------------------


def test_another_members_trial_is_trained_while_a_checkpoint_is_uploaded(tmp_path):
    study, hold = make(tmp_path, trials=4), tmp_path / "hold"
    hold.touch()
    seen = []

    def body(trial):
        if trial.number == 1:
            # trial 0's body has ended, and its upload waits for this one
            Journal(tmp_path / "puts").wait_for(1)
            seen.append(states(study))
            time.sleep(0.3)  # longer than the loop's pauses: nothing is decided meanwhile
            seen.append(states(study))
            hold.unlink()

    study.run(training(tmp_path, body), workers=0, upload="background", verbose=0)
    assert seen == [[RUNNING, RUNNING]] * 2
    assert states(study) == [COMPLETED] * 4
    assert [trial.attempts for trial in study.trials()] == [1] * 4


def test_a_child_begins_only_after_its_parent_was_told(tmp_path):
    study = make(tmp_path, 3, trials=12)
    early = []

    def body(trial):
        if trial.parent is not None:
            early.append(study.trial(trial.parent).state is not COMPLETED)

    study.run(training(tmp_path, body, seconds=0.03), workers=0, upload="background", verbose=0)
    assert early == [False] * 9


@pytest.mark.parametrize("population", [1, 2, 5])
def test_a_synchronous_study_has_the_same_trials_with_a_slow_store(tmp_path, population):
    study = example_study(tmp_path / "study.db", population=population)

    def train(trials):
        hold_uploads(trials, tmp_path, 0.02)
        drawing()(trials)

    study.run(train, workers=0, upload="background", verbose=0)
    assert facts(study) == reference(population)


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("synchronous", [False, True])
def test_nothing_is_waited_for_forever(tmp_path, workers, synchronous):
    # as many workers as members, or more, and budgets that leave no second trial to train
    for place, (population, trials) in enumerate([(1, 3), (2, 3), (2, 1)]):
        folder = tmp_path / str(place)
        folder.mkdir()
        study = make(folder, population, trials=trials, synchronous=synchronous)
        study.run(training(folder, seconds=0.05), workers=workers, upload="background", verbose=0)
        assert states(study).count(COMPLETED) == trials
        assert study.finished


def test_a_pause_waits_for_no_upload(tmp_path):
    study = make(tmp_path, trials=6)

    def body(trial):
        if trial.number == 2:
            study.pause()
            threading.Timer(0.4, study.resume).start()

    study.run(training(tmp_path, body, seconds=0.05), workers=0, upload="background", verbose=0)
    assert states(study) == [COMPLETED] * 6


def test_a_trial_that_comes_free_is_trained_although_the_upload_goes_on(tmp_path):
    study, hold, asked = make(tmp_path, 2, trials=4), tmp_path / "hold", threading.Event()
    hold.touch()

    def ask_and_give_back():
        lease = attempt_of(study.ask()).grant.lease
        asked.set()
        Journal(tmp_path / "puts").wait_for(1)
        time.sleep(0.1)  # the loop has found that there is no other trial
        study.owner.execute([Fail(lease=lease, error="changed its mind", cause="released")])

    def body(trial):
        if trial.number == 0:
            hold.unlink()

    other = threading.Thread(target=ask_and_give_back)
    other.start()
    asked.wait()
    study.run(training(tmp_path, body), workers=0, upload="background", verbose=0)
    other.join()
    assert states(study) == [COMPLETED] * 4
    assert [trial.attempts for trial in study.trials()] == [2, 1, 1, 1]


def test_the_default_uses_no_thread_and_tells_first(tmp_path):
    study = make(tmp_path)
    seen = []

    def body(trial):
        seen.append([one.name for one in threading.enumerate() if "upload" in one.name])
        assert states(study)[: trial.number] == [COMPLETED] * trial.number

    study.run(training(tmp_path, body), workers=0, verbose=0)
    assert seen == [[]] * 6


# --- the state --------------------------------------------------------------------------------------------------


def test_a_checkpoint_has_the_state_at_the_end_of_its_trial_although_training_goes_on(tmp_path):
    torch = pytest.importorskip("torch")
    study, ends = make(tmp_path, trials=6), {}

    def train(trials):
        hold_uploads(trials, tmp_path)
        for trial in trials.attach(lambda trial: {"model": torch.nn.Linear(8, 8), "moments": np.zeros(4)}):
            with torch.no_grad():
                # of trial 3 these are the very tensors that trial 2 ended with
                for weights in trial.state.model.parameters():
                    weights.add_(trial["lr"])
            trial.state.moments += trial["lr"]
            trial.report(score=float(trial.state.moments[0]), steps_done=1)
            values = trial.state.model.state_dict().items()
            ends[trial.number] = {name: value.clone() for name, value in values}, trial.state.moments.copy()
            if trial.number == 2:
                hold_after(tmp_path, 2)
            if trial.number == 3:
                release(tmp_path)

    study.run(train, workers=0, upload="background", verbose=0)
    for number in (2, 3):
        model, moments = torch.nn.Linear(8, 8), np.zeros(4)
        moments = study.restore(number, model=model, moments=moments)["moments"]
        weights, expected = ends[number]
        assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
        assert np.array_equal(moments, expected)


def test_a_lone_members_trials_go_on_from_memory(tmp_path):
    study = make(tmp_path, 1, trials=4)
    loaded = []
    study.run(
        training(tmp_path, lambda trial: loaded.append(trial.loaded), seconds=0.02),
        workers=0,
        upload="background",
        verbose=0,
    )
    assert loaded == [True, False, False, False]
    values = [trial.hyperparameters["lr"] for trial in study.trials()]
    assert [trial.score for trial in study.trials()] == pytest.approx([3 * sum(values[: n + 1]) for n in range(4)])


def test_trials_that_save_themselves_are_uploaded_in_the_background_too(tmp_path):
    study, hold = make(tmp_path, trials=4), tmp_path / "hold"
    hold.touch()

    def train(trials):
        hold_uploads(trials, tmp_path)
        for trial in trials:
            weights = np.zeros(2) if trial.load_from is None else np.load(trial.load_from / "weights.npy")
            weights += trial["lr"]
            np.save(trial.save_to / "weights.npy", weights)
            trial.report(score=float(weights.sum()), steps_done=1)
            if trial.number == 1:
                assert states(study) == [RUNNING, RUNNING]
                hold.unlink()

    study.run(train, workers=0, upload="background", verbose=0)
    assert states(study) == [COMPLETED] * 4
    last = study.trial(3)
    assert float(np.load(study.checkpoint_path(3) / "weights.npy").sum()) == last.score


@pytest.mark.parametrize("workers", [0, 1])
def test_commands_are_uploaded_in_the_background_too(tmp_path, workers):
    code = (
        "import json, os; job = json.load(open(os.environ['PHYLETIC_JOB']))\n"
        "w = float(open(job['load_from'] + '/w').read()) if job['load_from'] else 0.0\n"
        "w += job['hyperparameters']['lr']; open(job['save_to'] + '/w', 'w').write(repr(w))\n"
        "open(job['report'], 'a').write(json.dumps(dict(score=w)) + '\\n')\n"
    )
    scores = []
    for upload in ("before_tell", "background"):
        folder = tmp_path / upload
        folder.mkdir()
        study = make(folder, 3, trials=9, synchronous=True)
        study.run(command=[sys.executable, "-c", code], workers=workers, upload=upload, verbose=0)
        assert states(study) == [COMPLETED] * 9
        scores.append([trial.score for trial in study.trials()])
    assert scores[0] == scores[1]


def test_files_that_save_writes_are_those_at_the_trials_end(tmp_path):
    study, hold = make(tmp_path, trials=4), tmp_path / "hold"
    hold.touch()

    def save(state, folder):
        np.save(folder / "weights.npy", state.weights)

    def load(state, folder):
        state.weights = np.load(folder / "weights.npy")

    def train(trials):
        hold_uploads(trials, tmp_path)
        for trial in trials.attach(build, save=save, load=load):
            trial.state.weights += trial["lr"]
            trial.report(score=float(trial.state.weights.sum()), steps_done=1)
            if trial.number == 1:
                hold.unlink()

    study.run(train, workers=0, upload="background", verbose=0)
    for number in (2, 3):
        assert np.load(study.checkpoint_path(number) / "weights.npy").sum() == study.trial(number).score


def test_saves_within_a_trial_go_on_beside_an_upload(tmp_path):
    study = make(tmp_path, trials=4, interval=4)
    begun = []

    def train(trials):
        hold_uploads(trials, tmp_path, 0.1)
        for trial in trials.attach(build):
            begun.append((trial.number, trial.first_step))
            for step in trial.range():
                trial.state.weights += trial["lr"]
                if trial.number == 3 and step == 5:
                    trial.save()
                if trial.number == 3 and step == 6 and trial.record.attempts == 1:
                    raise RuntimeError("once")
            trial.report(score=float(trial.state.weights.sum()))

    study.run(train, workers=0, upload="background", verbose=0)
    assert states(study) == [COMPLETED] * 4
    assert begun == [(0, 0), (1, 0), (2, 4), (3, 4), (3, 6)]


# --- errors -----------------------------------------------------------------------------------------------------


def failing_at(number, error):
    """Return what raises an error from the upload with that number."""
    count = []

    def before(key):
        count.append(key)
        if len(count) == number + 1:
            raise error

    return before


def outcome(study):
    first = study.trials()[0]
    return first.state, first.attempts, first.failures, first.losses, (first.error or "").strip().splitlines()[-1:]


@pytest.mark.parametrize(
    ("error", "raised"),
    [(OSError(28, "No space left on device"), CheckpointError), (RuntimeError("a bug of the store"), RuntimeError)],
)
def test_an_upload_that_fails_counts_as_it_would_before_the_tell(tmp_path, error, raised):
    ends = []
    for upload in ("before_tell", "background"):
        folder = tmp_path / upload
        folder.mkdir()
        study, second, fail = make(folder), threading.Event(), failing_at(0, error)

        def note(trial, second=second):
            if trial.number == 1:
                second.set()

        def before(key, upload=upload, second=second, fail=fail):
            assert upload == "before_tell" or second.wait(30)
            fail(key)

        train = training(folder, body=note, before=before)
        with pytest.raises(raised, match=r"No space|a bug"):
            study.run(train, workers=0, upload=upload, verbose=0)
        ends.append(outcome(study))
        # what was trained meanwhile stands
        assert states(study) == ([WAITING] if upload == "before_tell" else [WAITING, COMPLETED])
        study.run(train, workers=0, upload=upload, verbose=0)
        assert states(study) == [COMPLETED] * 6
        assert [trial.attempts for trial in study.trials()] == [2, 1, 1, 1, 1, 1]
    assert ends[0] == ends[1]


def test_a_failed_upload_in_a_worker_ends_the_run_as_well(tmp_path):
    study = make(tmp_path)

    def train(trials):
        hold_uploads(trials, tmp_path, before=failing_at(2, OSError(28, "No space left on device")))
        training(tmp_path)(trials)

    with pytest.raises(CheckpointError, match="No space left"):
        study.run(train, workers=1, upload="background", verbose=0)
    assert states(study).count(COMPLETED) == 3
    assert [(trial.failures, trial.losses) for trial in study.trials()] == [(0, 0)] * len(study.trials())


def test_a_store_that_fails_once_costs_one_attempt(tmp_path):
    study = make(tmp_path)
    study.run(
        training(tmp_path, before=failing_at(2, RuntimeError("a bug"))), workers=0, upload="background", verbose=0
    )
    assert states(study) == [COMPLETED] * 6
    assert sorted(trial.attempts for trial in study.trials()) == [1, 1, 1, 1, 1, 2]
    assert sum(trial.failures for trial in study.trials()) == 1


def test_a_result_that_is_refused_ends_the_run(tmp_path):
    study = make(tmp_path)

    def train(trials):
        for trial in trials.attach(build):
            trial.report({"other": trial["lr"]}, steps_done=1)

    with pytest.raises(MetricMissing, match="'score'"):
        study.run(train, workers=0, upload="background", verbose=0)
    assert states(study) == [WAITING, WAITING]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_exception_in_the_next_body_does_not_harm_the_upload(tmp_path, workers):
    study, raised = make(tmp_path), tmp_path / "raised"

    def train(trials):
        hold_uploads(trials, tmp_path)
        for trial in trials.attach(build):
            trial.state.weights += trial["lr"]
            trial.report(score=float(trial.state.weights.sum()), steps_done=1)
            if trial.number == 3 and not raised.exists():
                raised.touch()
                threading.Timer(0.3, lambda: release(tmp_path)).start()
                raise ValueError("in the second body")
            if trial.number == 2:
                hold_after(tmp_path, 2)

    study.run(train, workers=workers, upload="background", verbose=0)
    assert states(study) == [COMPLETED] * 6
    assert [(trial.attempts, trial.failures) for trial in study.trials()] == [
        (1 + (number == 3), int(number == 3)) for number in range(6)
    ]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_failure_is_not_the_studys_first_if_an_upload_had_begun_before_it(tmp_path, workers):
    # such a failure would end the run
    study, raised = make(tmp_path), tmp_path / "raised"

    def body(trial):
        if trial.number == 1 and not raised.exists():
            raised.touch()
            raise ValueError("in the second body")

    study.run(training(tmp_path, body, seconds=0.3), workers=workers, upload="background", verbose=0)
    assert states(study) == [COMPLETED] * 6
    assert [trial.failures for trial in study.trials()] == [0, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_misuse_that_ends_the_run_does_not_harm_the_upload(tmp_path, workers):
    study = make(tmp_path)

    def body(trial):
        if trial.number == 2:
            hold_after(tmp_path, 2)
        if trial.number == 3:
            threading.Timer(0.3, lambda: release(tmp_path)).start()
            trial.report(score="high")

    with pytest.raises(InvalidArgument, match="must be a number"):
        study.run(training(tmp_path, body), workers=workers, upload="background", verbose=0)
    assert states(study) == [COMPLETED] * 3 + [WAITING]


def test_training_code_that_loops_no_more_does_not_harm_the_upload(tmp_path):
    study, loops = make(tmp_path), []

    def train(trials):
        if loops:
            return
        loops.append(trials)
        hold_uploads(trials, tmp_path, 0.1)
        for trial in trials.attach(build):
            trial.report(score=trial["lr"], steps_done=1)
            if trial.number == 3:
                break

    with pytest.raises(InvalidArgument, match="train"):
        study.run(train, workers=0, upload="background", verbose=0)
    assert states(study) == [COMPLETED] * 3 + [WAITING]


def test_an_upload_that_fails_while_the_run_ends_is_an_error_of_the_run(tmp_path):
    study, raised = make(tmp_path, 1), []

    def before(key):
        study.stop()
        raised.append(key)
        time.sleep(0.5)
        raise OSError(28, "No space left on device")

    with pytest.raises(CheckpointError, match="No space left"):
        study.run(training(tmp_path, before=before), workers=0, upload="background", verbose=0)
    assert len(raised) == 1
    assert [(trial.state, trial.failures) for trial in study.trials()] == [(WAITING, 0)]


def test_a_trial_that_was_left_does_not_harm_the_upload(tmp_path):
    study, left = make(tmp_path), []

    def train(trials):
        hold_uploads(trials, tmp_path, 0.1)
        for _ in range(2):
            for trial in trials.attach(build):
                trial.report(score=trial["lr"], steps_done=1)
                if trial.number == 3 and not left:
                    left.append(trial.number)
                    break

    study.run(train, workers=0, upload="background", verbose=0)
    assert states(study) == [COMPLETED] * 6
    assert [trial.attempts for trial in study.trials()] == [1, 1, 1, 2, 1, 1]


def test_a_lost_lease_is_dropped(tmp_path):
    study, attempts = make(tmp_path, trials=4), {}

    def body(trial):
        attempts.setdefault(trial.number, attempt_of(trial))
        if trial.number == 1 and trial.record.attempts == 1:
            (reply,) = study.owner.execute([Fail(lease=attempts[0].grant.lease, error="taken away", cause="released")])
            assert reply.trial.state is WAITING
            release(tmp_path)

    (tmp_path / "hold").touch()
    study.run(training(tmp_path, body), workers=0, upload="background", verbose=0)
    assert states(study) == [COMPLETED] * 4
    first = study.trial(0)
    assert (first.attempts, first.failures) == (2, 0)
    assert study.checkpoint_path(0).exists()


def test_a_session_that_lost_the_trial_in_flight_trains_one_of_the_two_that_it_gets(tmp_path):
    study, attempts, lost = make(tmp_path, 3, trials=3), {}, threading.Event()

    def before(key):
        if not lost.is_set():
            lost.set()
            study.owner.execute([Fail(lease=attempts[0].grant.lease, error="taken away", cause="released")])
            study.resume()
            Journal(tmp_path / "bodies").wait_for(2)

    def body(trial):
        Journal(tmp_path / "bodies").note(trial=trial.number, attempt=trial.record.attempts)
        attempts.setdefault(trial.number, attempt_of(trial))
        if trial.number == 0 and trial.record.attempts == 1:
            study.pause()

    study.run(training(tmp_path, body, before=before), workers=0, upload="background", verbose=0)
    assert states(study) == [COMPLETED] * 3
    assert [trial.attempts for trial in study.trials()] == [2, 2, 1]
    bodies = [(note["trial"], note["attempt"]) for note in Journal(tmp_path / "bodies").notes()]
    assert sorted(bodies) == [(0, 1), (0, 2), (1, 2), (2, 1)]


def test_a_state_whose_trial_was_lost_is_not_gone_on_from(tmp_path):
    study, attempts, seen, taken = make(tmp_path, 1, trials=3), {}, {}, []

    def before(key):
        if 1 in attempts and not taken:
            # another session gets trial 1, and ends it with other weights
            taken.append(key)
            fail = Fail(lease=attempts[1].grant.lease, error="taken away", cause="released")
            _, granted = study.owner.execute([fail, Ask(session="f" * 32)])
            grant = granted.first
            checkpoint = study.checkpoints.publish(grant.checkpoint, {"weights": np.full(3, 100.0)})
            said = (Evaluation(step=2, metric="score", value=1.0),)
            study.owner.execute([Tell(lease=grant.lease, evaluations=said, steps_done=1, checkpoint=checkpoint)])

    def body(trial):
        attempts[trial.number] = attempt_of(trial)
        seen[trial.number] = (trial.loaded, float(trial.state.weights[0]))

    study.run(training(tmp_path, body, before=before), workers=0, upload="background", verbose=0)
    assert [trial.attempts for trial in study.trials()] == [1, 2, 1]
    assert seen[2] == (True, pytest.approx(100 + study.trial(2).hyperparameters["lr"]))


def test_nothing_is_told_during_an_ask():
    # the session would lose the trial that the ask counts on, and get two others
    study = ph.Study("study", space={"lr": ph.Float(0.1, 1.0)}, metric="score", mode="max", algorithm=ph.PBT(1, 1))
    attempt, told, published = attempt_of(study.ask()), [], threading.Event()
    upload = BackgroundUpload(lambda commands: told.extend(commands) or [Done()], lambda attempt, error: True)
    result = Tell(lease=attempt.grant.lease, evaluations=(), steps_done=1)
    with upload.asking:
        upload.start(attempt, result, published.set)
        published.wait()
        upload.wait(0.1)
        assert (told, upload.attempt) == ([], attempt)
    upload.wait()
    assert (len(told), upload.attempt, upload.told) == (1, None, 0)


# --- the end of a run -------------------------------------------------------------------------------------------


def interrupted(folder, workers, number, monkeypatch):
    """Run a study in a process of its own; send a signal while one trial is uploaded and another trained."""
    monkeypatch.setenv("PYTHONPATH", str(Path(held_blobs.__file__).parent))
    journal = Journal(folder / "bodies")

    def train(trials):
        hold_uploads(trials, folder)
        for trial in trials.attach(build):
            trial.report(score=trial["lr"])
            if trial.number == 2:
                hold_after(folder, 2)
            journal.note(trial=trial.number)
            for _step in trial.range():
                trial.state.weights += trial["lr"]
                if trial.number == 3:
                    for _ in range(2000):
                        if trial.should_stop or (folder / "go").exists():
                            break
                        time.sleep(0.01)
            trial.report(score=trial["lr"])

    def run():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        study = make(folder, trials=20, interval=2)
        print(study.run(train, workers=workers, upload="background", verbose=1, on_signal="return"))

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with start_process(run, folder) as process:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
        journal.wait_for(4)
        # trial 2 is being uploaded, and trial 3 trained
        process.send_signal(number)
        time.sleep(0.7)
        if number == signal.SIGINT:
            (folder / "go").touch()
        time.sleep(0.7)
        release(folder)
        output, _ = process.communicate(timeout=30)
    return make(folder, trials=20, interval=2), output


@pytest.mark.parametrize("workers", [0, 1])
def test_a_drained_run_finishes_both_trials(tmp_path, workers, monkeypatch):
    study, output = interrupted(tmp_path, workers, signal.SIGINT, monkeypatch)
    assert states(study) == [COMPLETED] * 4, output
    assert "interrupted" in output
    assert [trial.attempts for trial in study.trials()] == [1] * 4


@pytest.mark.parametrize("workers", [0, 1])
def test_a_terminated_run_tells_the_upload_and_hands_back_the_other(tmp_path, workers, monkeypatch):
    study, output = interrupted(tmp_path, workers, signal.SIGTERM, monkeypatch)
    trials = study.trials()
    assert [trial.state for trial in trials[:4]] == [COMPLETED, COMPLETED, COMPLETED, TrialState.PARTIAL], output
    assert all(trial.losses == trial.failures == 0 for trial in trials)
    assert "terminated" in output


def test_a_worker_that_is_asked_to_end_tells_the_upload_and_hands_back_the_other(tmp_path):
    study = make(tmp_path, trials=6, interval=2)

    def train(trials):
        hold_uploads(trials, tmp_path)
        for trial in trials.attach(build):
            for _step in trial.range():
                trial.state.weights += trial["lr"]
                if trial.number == 3 and trial.state.weights[0]:
                    os.kill(os.getpid(), signal.SIGTERM)
                    threading.Timer(0.3, lambda: release(tmp_path)).start()
            trial.report(score=float(trial.state.weights.sum()))
            if trial.number == 2:
                hold_after(tmp_path, 2)

    study.run(train, workers=1, upload="background", verbose=0)
    assert states(study).count(COMPLETED) == 6
    assert study.trial(2).state is COMPLETED
    assert study.trial(3).state is TrialState.PARTIAL
    assert all((trial.attempts, trial.losses, trial.failures) == (1, 0, 0) for trial in study.trials())


def test_a_worker_that_is_asked_to_end_while_it_waits_for_its_upload_tells_it(tmp_path):
    study, ended = make(tmp_path, 1, trials=3), tmp_path / "ended"

    def before(key):
        if not ended.exists():
            ended.touch()
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.5)

    study.run(training(tmp_path, before=before), workers=1, upload="background", verbose=0)
    assert states(study) == [COMPLETED] * 3
    assert all((trial.attempts, trial.losses, trial.failures) == (1, 0, 0) for trial in study.trials())


def test_a_second_interrupt_abandons_the_upload(tmp_path):
    study, hold = make(tmp_path), tmp_path / "hold"

    def body(trial):
        if trial.number == 2:
            hold_after(tmp_path, 2)
        if trial.number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.run(training(tmp_path, body), workers=0, upload="background", verbose=0)
    (upload,) = [one for one in threading.enumerate() if one.name == "phyletic upload"]
    study.close()
    hold.unlink()
    upload.join()
    # the thread neither told the trial nor took the study's ownership again
    assert not study.owner.begun
    assert [(trial.state, trial.attempts) for trial in study.trials()] == [(COMPLETED, 1)] * 2 + [(WAITING, 1)] * 2
    study.run(training(tmp_path), workers=0, upload="background", verbose=0)
    assert states(study) == [COMPLETED] * 6


def test_a_killed_worker_loses_only_what_was_never_acknowledged(tmp_path):
    study, killed = make(tmp_path), tmp_path / "killed"

    def body(trial):
        if killed.exists():
            release(tmp_path)
        elif trial.number == 2:
            hold_after(tmp_path, 2)
        elif trial.number == 3:
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    study.run(training(tmp_path, body), workers=1, upload="background", verbose=0)
    assert states(study) == [COMPLETED] * 6
    assert [(trial.attempts, trial.losses, trial.failures) for trial in study.trials()] == [
        (1, 0, 0), (1, 0, 0), (2, 1, 0), (2, 1, 0), (1, 0, 0), (1, 0, 0),
    ]  # fmt: skip


@pytest.mark.parametrize("draining", [False, True])
def test_a_detached_session_keeps_a_trial_whose_upload_is_longer_than_its_lease(tmp_path, draining):
    study = make(tmp_path, 1, trials=2)
    channel = OwnerChannel(study.owner)
    over = threading.Event()
    taken = []

    def ask_beside():
        while not over.wait(0.05):
            reply = study.ask(worker="other")
            if not isinstance(reply, (ph.Wait, ph.Finished)):
                taken.append(reply.number)
                return

    with (
        study,
        detached_source(
            channel, store=study.checkpoints, space=study.space, worker="far", lease_seconds=0.4, upload="background"
        ) as trials,
    ):
        other = threading.Thread(target=ask_beside)

        def body(trial):
            if trial.number == 1:
                return
            other.start()
            if draining:  # then no ask renews the lease
                threading.Timer(0.2, lambda: setattr(trials, "draining", True)).start()

        def ending(key):
            over.set()
            other.join()

        training(tmp_path, body, seconds=1.5, before=ending)(trials)
    assert taken == []
    assert [(trial.state, trial.attempts, trial.losses) for trial in study.trials()] == [(COMPLETED, 1, 0)] * (
        1 if draining else 2
    )


# --- arguments --------------------------------------------------------------------------------------------------


def test_another_value_is_refused(tmp_path):
    study = make(tmp_path)
    with pytest.raises(InvalidArgument, match=r'upload is .later., but must be one of "before_tell", "background"'):
        study.run(training(tmp_path), upload="later")
    with pytest.raises(InvalidArgument, match="unsupervised loop"):
        study.source(upload="background")
    assert study.trials() == []
