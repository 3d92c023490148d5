"""Training code that looks right and undoes what evolution does is refused, or told apart in the trial's record."""

import random
import warnings

import numpy as np
import pytest
import torch

import phyletic as ph
from phyletic import errors
from phyletic.workers.live_trial import attempt_of

STEP_LR = torch.optim.lr_scheduler.StepLR


def make(space=None, steps=6, population=2, **options):
    return ph.Study(
        "study", space=space or {"lr": ph.Float(0.01, 0.1)}, metric="score", mode="max", seed=0,
        algorithm=ph.PBT(population, 2), budget=ph.Budget(steps=steps), **options,
    )  # fmt: skip


def network(trial, kind=torch.optim.Adam, **settings):
    model = torch.nn.Linear(2, 1)
    return {"model": model, "optimizer": kind(model.parameters(), lr=0.5, **settings)}


def step(trial, optimizer=None):
    optimizer = optimizer or trial.state.optimizer
    for _ in trial.range():
        optimizer.zero_grad()
        trial.state.model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
    trial.report(score=float(trial.number))


def run(study, build, body):
    def train(trials):
        for trial in trials.attach(build):
            body(trial)

    study.run(train, workers=0, verbose=0)


# --- schedulers and optimizers that the state does not hold ---------------------------------------------------------


def test_a_scheduler_made_in_the_body_is_refused_before_anything_is_set():
    study, seen = make(), []

    def body(trial):
        scheduler = STEP_LR(trial.state.optimizer, 1)
        seen.append(trial.state.optimizer)
        trial.apply(trial.state.optimizer, scheduler=scheduler)

    with pytest.raises(errors.ApplyFailed, match=r"a StepLR that build did not return.*return it from build"):
        run(study, network, body)
    assert seen[0].param_groups[0]["lr"] == 0.5


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: [one], lambda one: {"first": (one,)}])
def test_a_scheduler_that_build_returned_is_taken_wherever_the_state_holds_it(wrap):
    def build(trial):
        state = network(trial)
        return {**state, "schedule": wrap(STEP_LR(state["optimizer"], 100))}

    def body(trial):
        held = trial.state.schedule
        scheduler = held[0] if isinstance(held, list) else held["first"][0] if isinstance(held, dict) else held
        trial.apply(trial.state.optimizer, scheduler=scheduler)
        step(trial)

    study = make()
    if wrap(1) == 1:  # only an entry of its own is saved
        run(study, build, body)
        assert study.finished
    else:
        with pytest.raises(errors.StateUnsupported):
            run(study, build, body)


def test_messages_about_schedulers_lead_to_build():
    def build(trial):
        state = network(trial)
        return {**state, "scheduler": STEP_LR(state["optimizer"], 1)}

    def body(trial):
        trial.apply(trial.state.optimizer)
        step(trial)
        trial.state.scheduler.step()

    with pytest.raises(errors.HyperparameterDrift, match="return the scheduler from build"):
        run(make(), build, body)


@pytest.mark.parametrize("keeps", [True, False])
def test_an_optimizer_made_anew_in_each_trial_is_refused_unless_it_keeps_nothing(keeps):
    kind = torch.optim.Adam if keeps else torch.optim.SGD

    def body(trial):
        optimizer = kind(trial.state.model.parameters(), lr=0.5)
        trial.apply(optimizer)
        step(trial, optimizer)

    study = make()
    if not keeps:
        run(study, lambda trial: {"model": torch.nn.Linear(2, 1)}, body)
        assert study.finished
        return
    with pytest.raises(errors.ApplyFailed, match=r"made no step yet.*its moments are lost.*fresh=True"):
        run(study, lambda trial: {"model": torch.nn.Linear(2, 1)}, body)
    assert {trial.start_step for trial in study.trials() if trial.end_step} == {0}


def test_a_fresh_optimizer_that_is_meant_is_recorded():
    def body(trial):
        optimizer = torch.optim.Adam(trial.state.model.parameters(), lr=0.5)
        trial.apply(optimizer, fresh=True)
        step(trial, optimizer)

    study = make(storage=None)
    run(study, lambda trial: {"model": torch.nn.Linear(2, 1)}, body)
    for trial in study.trials():
        assert trial.remarks == (
            () if trial.newborn else ("torch.optim.adam.Adam began without moments, as fresh=True says",)
        )


def test_momentum_decides_whether_gradient_descent_keeps_something():
    def build(trial):
        return {"model": torch.nn.Linear(2, 1)}

    def body(trial):
        optimizer = torch.optim.SGD(trial.state.model.parameters(), lr=0.5, momentum=0.9)
        trial.apply(optimizer)
        step(trial, optimizer)

    with pytest.raises(errors.ApplyFailed, match="moments are lost"):
        run(make(), build, body)


def test_an_optimizer_that_never_stepped_before_loses_nothing():
    def build(trial):
        state = network(trial)
        return {**state, "later": torch.optim.Adam(state["model"].parameters(), lr=0.5)}

    def body(trial):
        trial.apply(trial.state.optimizer)
        trial.apply(trial.state.later)
        step(trial)

    study = make()
    run(study, build, body)
    assert study.finished


def test_an_entry_that_the_body_replaces_loses_its_moments_all_the_same():
    def body(trial):
        trial.state.optimizer = torch.optim.Adam(trial.state.model.parameters(), lr=0.5)
        trial.apply(trial.state.optimizer)
        step(trial)

    with pytest.raises(errors.ApplyFailed, match="moments are lost"):
        run(make(), network, body)


def test_an_optimizer_that_is_meant_to_be_fresh_is_said_so_once():
    def body(trial):
        optimizer = torch.optim.Adam(trial.state.model.parameters(), lr=0.5)
        trial.apply(optimizer, fresh=True, lr="lr")
        trial.apply(optimizer, eps="eps")
        step(trial, optimizer)

    study = make({"lr": ph.Float(0.01, 0.1), "eps": ph.Float(1e-9, 1e-7, log=True)})
    run(study, lambda trial: {"model": torch.nn.Linear(2, 1)}, body)
    assert study.finished


def test_gradient_descent_of_another_class_keeps_nothing_either():
    class Descent(torch.optim.SGD):
        pass

    def body(trial):
        optimizer = Descent(trial.state.model.parameters(), lr=0.5)
        trial.apply(optimizer)
        step(trial, optimizer)

    study = make()
    run(study, lambda trial: {"model": torch.nn.Linear(2, 1)}, body)
    assert study.finished


# --- values that are read and never applied -------------------------------------------------------------------------


def log_only(trial):
    trial["lr"]
    step(trial)


def test_a_value_that_is_only_logged_is_noticed():
    with pytest.raises(errors.HyperparameterUnused, match=r"'lr' is .* and was read, but lr of torch.optim.adam.Adam"):
        run(make(), network, log_only)


def by_hand(trial):
    for group in trial.state.optimizer.param_groups:
        group["lr"] = trial["lr"]
    step(trial)


def by_a_schedule_of_its_own(trial):
    for number in trial.range():
        for group in trial.state.optimizer.param_groups:
            group["lr"] = trial["lr"] / (1 + number)
    trial.report(score=1.0)


def by_a_schedule_that_ends_where_it_began(trial):
    (group,) = trial.state.optimizer.param_groups
    base = group["lr"]
    for number in trial.range():
        group["lr"] = base if number % 2 else trial["lr"]
    trial.report(score=1.0)


def with_an_optimizer_of_its_own(trial):
    trial.state.optimizer = torch.optim.SGD(trial.state.model.parameters(), lr=trial["lr"])
    step(trial)


def elsewhere(trial):
    trial.apply(lambda values: {"lr": values["lr"]})
    step(trial)


@pytest.mark.parametrize(
    "body",
    [
        by_hand,
        by_a_schedule_of_its_own,
        by_a_schedule_that_ends_where_it_began,
        with_an_optimizer_of_its_own,
        elsewhere,
    ],
)
def test_a_value_that_is_used_in_another_way_is_not_taken_for_one(body):
    study = make()
    run(study, network, body)
    assert study.finished


def test_a_setting_that_its_class_has_by_default_is_not_taken_for_one():
    def body(trial):
        # a penalty in the loss, beside an optimizer that has a setting of the same name
        penalty = trial["weight_decay"]
        assert penalty > 0
        step(trial)

    study = make({"weight_decay": ph.Float(0.01, 0.1)})
    run(study, network, body)
    assert study.finished


def test_a_value_that_was_used_at_birth_alone_is_noticed_once_it_changes():
    def build(trial):
        model = torch.nn.Linear(2, 1)
        return {"model": model, "optimizer": torch.optim.Adam(model.parameters(), lr=trial["lr"])}

    study = make(steps=40)
    with pytest.raises(errors.HyperparameterUnused, match=r"'lr' is .* and was read, but lr of"):
        run(study, build, log_only)
    assert study.trials()[-1].decision.changes


def test_a_copy_for_logging_is_no_use_and_a_comprehension_is_one():
    study = make({"lr": ph.Float(0.01, 0.1), "width": ph.Choice([2, 3])})
    copies = []

    def copying(trial):
        trial.apply(trial.state.optimizer)
        copies.append(trial.hyperparameters.copy())
        step(trial)

    with pytest.raises(errors.HyperparameterUnused, match="'width': neither read nor applied"):
        run(study, network, copying)
    assert type(copies[0]) is dict
    assert set(copies[0]) == {"lr", "width"}

    def comprehending(trial):
        trial.apply(trial.state.optimizer)
        assert {path: trial[path] for path in ("lr", "width")} == trial.hyperparameters.copy()
        step(trial)

    run(study, network, comprehending)
    assert study.finished


# --- members that are born trained ----------------------------------------------------------------------------------


def change_array(state):
    state.weights[0] += 1


def change_nested(state):
    state.layers[0]["weights"][0] += 1


def change_module(state):
    with torch.no_grad():
        state.model.weight += 1


def change_optimizer(state):
    (weight, *_) = state.optimizer.param_groups[0]["params"]
    weight.sum().backward()
    state.optimizer.step()


@pytest.mark.parametrize(
    ("make_state", "change"),
    [
        (lambda: {"model": torch.nn.Linear(2, 1)}, change_module),
        (lambda: {"weights": np.zeros(3)}, change_array),
        (lambda: {"layers": [{"weights": np.zeros(3)}]}, change_nested),
        (lambda: {"weights": torch.zeros(3)}, change_array),
        (lambda: {"optimizer": torch.optim.Adam(torch.nn.Linear(2, 1).parameters(), lr=0.1)}, change_optimizer),
    ],
)
def test_an_object_that_a_member_changed_is_refused_at_the_next_birth(make_state, change):
    made = make_state()

    def body(trial):
        trial.apply(lambda values: values)
        change(trial.state)
        trial.report(score=1.0)

    study = make()
    with pytest.raises(errors.StateUnsupported, match=r"build returned the same .* born trained: make it inside build"):
        run(study, lambda trial: dict(made), body)
    assert [trial.member for trial in study.trials() if trial.end_step] == [0]


def test_a_frozen_encoder_may_be_shared_by_members():
    encoder, study = torch.nn.Linear(2, 2).requires_grad_(False), make()

    def build(trial):
        return {**network(trial), "encoder": encoder}

    def body(trial):
        trial.apply(trial.state.optimizer)
        step(trial)

    run(study, build, body)
    assert study.finished


def test_constants_may_be_shared_by_members():
    shared = np.arange(3)
    shared.setflags(write=False)

    def body(trial):
        trial["lr"]
        trial.report(score=1.0)

    study = make()
    run(study, lambda trial: {"weights": [0.0], "names": ("a", "b"), "table": shared}, body)
    assert study.finished


# --- what the record says -------------------------------------------------------------------------------------------


def test_a_body_that_says_no_steps_is_noted_once_and_booked_whole(capsys):
    def body(trial):
        trial["lr"]
        trial.report(score=1.0)

    study = make()

    def train(trials):
        for trial in trials.attach(lambda trial: {"weights": [0.0]}):
            body(trial)

    study.run(train, workers=0, verbose=1)
    said = capsys.readouterr()
    assert (said.out + said.err).count("neither used trial.range() nor said steps_done") == 1
    assert all("steps_done=n" in trial.remarks[0] and trial.steps_done == 2 for trial in study.trials())


def test_a_function_is_read_back_if_it_can_be_and_noted_if_not():
    settings = {}

    def write(values):
        settings.update(values)
        return dict(values)

    study = make()
    run(study, lambda trial: {"w": [0.0]}, lambda trial: (trial.apply(write), trial.report(score=1.0, steps_done=2)))
    assert all("not read back" in trial.remarks[0] for trial in study.trials())
    study = make()
    run(
        study,
        lambda trial: {"w": [0.0]},
        lambda trial: (
            trial.apply(settings.update, read=lambda: settings),
            trial.report(score=1.0, steps_done=2),
        ),
    )
    assert all(trial.remarks == () and trial.applied == trial.hyperparameters for trial in study.trials())


def test_a_value_set_by_a_function_that_does_not_stay_is_drift():
    settings = {}

    def body(trial):
        trial.apply(settings.update, read=lambda: settings)
        settings["lr"] = 7.0
        trial.report(score=1.0, steps_done=2)

    with pytest.raises(errors.HyperparameterDrift, match=r"is 7\.0 at the trial's end"):
        run(make(), lambda trial: {"w": [0.0]}, body)


@pytest.mark.parametrize(
    ("write", "read", "said"),
    [
        (lambda values: None, lambda: {"lr": 7.0}, "but read returns 7.0"),
        (lambda values: None, lambda: {}, "read returned {}, but must return a mapping"),
        (lambda values: None, lambda: {"rate": 1.0}, "the hyperparameters are 'lr'"),
        (lambda values: None, lambda: 3, "read returned 3"),
        (lambda values: None, None, "returned None, but must return what took effect"),
        ({"lr": 0.0}, lambda: {}, "read= is for a target that is a function"),
    ],
)
def test_a_reader_that_disagrees_is_refused(write, read, said):
    with pytest.raises(errors.ApplyFailed, match=said):
        run(make(), lambda trial: {"w": [0.0]}, lambda trial: trial.apply(write, read=read))


# --- reports and random states --------------------------------------------------------------------------------------


class OnDevice:
    """Stands for a tensor on an accelerator: counts how often it is fetched."""

    fetched = 0

    def __init__(self, value):
        self.value = value
        self.device = type("device", (), {"type": "cuda"})

    def detach(self):
        return self

    def clone(self):
        return OnDevice(self.value)

    def numel(self):
        return 1

    def __float__(self):
        OnDevice.fetched += 1
        return self.value


def test_a_report_does_not_wait_for_the_device_and_keeps_the_value_it_had():
    OnDevice.fetched = 0
    study = make()

    def body(trial):
        trial["lr"]
        attempt_of(trial).beaten = float("inf")  # no heartbeat is due
        value = OnDevice(1.0)
        for number in trial.range():
            value.value = float(number)
            trial.report(score=value)
        value.value = -1.0
        assert OnDevice.fetched == 2 * trial.number

    run(study, lambda trial: {"w": [0.0]}, body)
    assert [trial.score for trial in study.trials()] == [trial.end_step - 1.0 for trial in study.trials()]


def test_a_value_with_a_gradient_is_reported_without_a_warning():
    study = make()

    def body(trial):
        trial["lr"]
        trial.report(score=torch.tensor(2.0, requires_grad=True) * 2)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(study, lambda trial: {"w": [0.0]}, body)
    assert {trial.score for trial in study.trials()} == {4.0}


def test_a_run_in_this_process_puts_the_global_random_states_back():
    def body(trial):
        trial["lr"]
        trial.report(score=random.random() + np.random.random() + float(torch.rand(())))

    for generator in (random.seed, np.random.seed, torch.manual_seed):
        generator(5)
    expected = (random.random(), np.random.random(), float(torch.rand(())))
    for generator in (random.seed, np.random.seed, torch.manual_seed):
        generator(5)
    run(make(), lambda trial: {"w": [0.0]}, body)
    assert (random.random(), np.random.random(), float(torch.rand(()))) == expected
