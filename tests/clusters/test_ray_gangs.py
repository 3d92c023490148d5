"""Gangs of Ray actors: several ranks train each trial together, and end it together."""

import os
import signal
import time
from functools import partial

import pytest

import phyletic as ph
from phyletic.testing.training import Journal

pytest.importorskip("ray")
pytestmark = [pytest.mark.usefixtures("one_node"), pytest.mark.xdist_group("one node")]


def build(trial):
    import torch

    model = torch.nn.Linear(4, 1)
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)}


def train(trials, journal=None, each=lambda trial, step, rank: None):
    """Fit a line by gradients that the ranks average, each from its part of the data."""
    import torch
    import torch.distributed as dist

    ranks, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if ranks > 1 and not dist.is_initialized():
        dist.init_process_group("gloo")
    inputs = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))[rank::ranks]
    targets = inputs.sum(1, keepdim=True)
    for trial in trials.attach(build):
        model, optimizer = trial.state.model, trial.state.optimizer
        trial.apply(optimizer)
        steps = 0
        for step in trial.range():
            each(trial, step, rank)
            optimizer.zero_grad()
            loss = ((model(inputs) - targets) ** 2).mean()
            loss.backward()
            for tensor in [loss.detach(), *(parameter.grad for parameter in model.parameters())] if ranks > 1 else []:
                dist.all_reduce(tensor)
                tensor /= ranks
            optimizer.step()
            steps += 1
            if rank == 0:
                trial.report(loss=loss.item())
        if journal is not None:
            journal.note(trial=trial.number, rank=rank, steps=steps, loaded=trial.loaded, lr=trial["lr"])
        if rank == 0:
            trial.report(loss=loss.item())


def study_in(folder, name="study", steps=24, **algorithm):
    return ph.Study(
        name,
        space={"lr": ph.Float(1e-3, 0.1, log=True)},
        metric="loss",
        mode="min",
        algorithm=ph.PBT(population=3, synchronous=True, **{"interval": 4, **algorithm}),
        budget=ph.Budget(steps=steps),
        storage=folder / f"{name}.db",
        seed=0,
    )


def test_two_ranks_equal_one_process(tmp_path):
    alone, together = study_in(tmp_path, "alone"), study_in(tmp_path, "together")
    alone.run(train, workers=0, verbose=0)
    journal = Journal(tmp_path / "notes")
    together.run(partial(train, journal=journal), workers=ph.RayWorkers(2, num_cpus=0.5, gang=2), verbose=0)
    assert [trial.hyperparameters for trial in together.trials()] == [trial.hyperparameters for trial in alone.trials()]
    assert [trial.score for trial in together.trials()] == pytest.approx(
        [trial.score for trial in alone.trials()], abs=1e-6
    )
    by_rank = [{note["trial"]: note for note in journal.notes() if note["rank"] == rank} for rank in (0, 1)]
    assert by_rank[0].keys() == by_rank[1].keys() == set(range(18))
    for one, other in zip(by_rank[0].values(), (by_rank[1][number] for number in by_rank[0]), strict=True):
        assert (one["steps"], one["loaded"], one["lr"]) == (other["steps"], other["loaded"], other["lr"])
    assert any(not note["loaded"] for note in journal.notes())


@pytest.mark.parametrize("dying", [0, 1])
def test_a_dead_rank_ends_the_attempt_everywhere(tmp_path, dying):
    killed = tmp_path / "killed"

    def die_once(trial, step, rank):
        if trial.number == 4 and step % 4 == 2 and rank == dying and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    study = study_in(tmp_path)
    study.run(partial(train, each=die_once), workers=ph.RayWorkers(1, gang=2), verbose=0)
    assert study.finished
    assert [trial.losses for trial in study.trials()] == [int(number == 4) for number in range(18)]


def test_an_exception_in_another_rank_fails_the_trial_with_its_traceback(tmp_path):
    raised = tmp_path / "raised"

    def raise_once(trial, step, rank):
        if trial.number == 4 and step % 4 == 2 and rank == 1 and not raised.exists():
            raised.touch()
            raise RuntimeError("the second rank has had enough")

    study = study_in(tmp_path)
    study.run(partial(train, each=raise_once), workers=ph.RayWorkers(1, gang=2), verbose=0)
    assert study.finished
    assert [trial.failures for trial in study.trials()] == [int(number == 4) for number in range(18)]
    assert sum(trial.losses for trial in study.trials()) == 0
    [failed] = study.errors
    assert failed.error == "RuntimeError: the second rank has had enough"
    assert "in raise_once" in failed.traceback


def test_all_ranks_stop_a_hopeless_trial_at_the_same_step(tmp_path):
    journal = Journal(tmp_path / "notes")
    study = study_in(tmp_path, steps=1200, interval=600, early_stopping=ph.NonFiniteStopping())

    def explode(trial, step, rank):
        if trial.number == 1:
            time.sleep(0.005)
            if step == 20:
                trial.state.model.weight.data.fill_(float("nan"))

    study.run(partial(train, journal=journal, each=explode), workers=ph.RayWorkers(1, gang=2), verbose=0)
    steps = {note["rank"]: note["steps"] for note in journal.notes() if note["trial"] == 1}
    assert steps[0] == steps[1]
    assert 20 < steps[0] < 600
    assert study.finished


def test_an_interval_in_seconds_is_refused(tmp_path):
    study = study_in(tmp_path, interval=None, interval_seconds=1.0)
    with pytest.raises(ph.errors.InvalidArgument, match=r"gang is 2, but must be 1 where the interval is in seconds"):
        study.run(train, workers=ph.RayWorkers(1, gang=2), verbose=0)


def test_rank_0_alone_writes_saves_and_own_files(tmp_path):
    def train_by_files(trials):
        rank = int(os.environ["RANK"])
        for trial in trials:
            if trial.load_from is not None:
                assert (trial.load_from / "rank").read_text() == "0"
            for _ in trial.range():
                assert trial["lr"] > 0
            (trial.save_to / "rank").write_text(str(rank))
            if rank == 0:
                trial.report(loss=trial["lr"])

    files = study_in(tmp_path, "files", steps=12)
    files.run(train_by_files, workers=ph.RayWorkers(1, num_cpus=0.5, gang=2), verbose=0)
    assert (files.checkpoint_path(files.best) / "rank").read_text() == "0"

    def train_with_saves(trials):
        rank = int(os.environ["RANK"])
        for trial in trials.attach(lambda trial: {"rank": [rank]}):
            for _ in trial.range():
                assert trial["lr"] > 0
                trial.save()
            if rank == 0:
                trial.report(loss=trial["lr"])

    saves = study_in(tmp_path, "saves", steps=12)
    saves.run(train_with_saves, workers=ph.RayWorkers(1, num_cpus=0.5, gang=2), verbose=0)
    assert saves.finished
    assert saves.restore(saves.best) == {"rank": [0]}
