"""Applying to torch optimizers, alone and with learning rate schedulers."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.optim import lr_scheduler as schedulers

from phyletic.errors import ApplyFailed
from phyletic.workers.apply import apply, drift


def parameters(count=1):
    return [torch.nn.Parameter(torch.full((3,), 1.0 + place)) for place in range(count)]


def step(optimizer, times=1):
    for _ in range(times):
        optimizer.zero_grad()
        sum((parameter**2).sum() for group in optimizer.param_groups for parameter in group["params"]).backward()
        optimizer.step()


def test_every_group_takes_the_values_and_keeps_its_types():
    optimizer = torch.optim.AdamW([{"params": [parameter]} for parameter in parameters(2)], lr=1.0)
    applied = apply({"lr": 0.01, "weight_decay": 0.5, "optimizer.beta1": 0.8, "betas.1": 0.95}, optimizer)
    assert applied.values == {"lr": 0.01, "weight_decay": 0.5, "optimizer.beta1": 0.8, "betas.1": 0.95}
    for group in optimizer.param_groups:
        assert (group["lr"], group["weight_decay"], group["betas"]) == (0.01, 0.5, (0.8, 0.95))
    step(optimizer)
    assert drift([applied]) is None


def test_the_applied_values_take_effect_in_a_step():
    one, other = parameters(), parameters()
    optimizers = [torch.optim.SGD(one, lr=0.1), torch.optim.SGD(other, lr=0.01, momentum=0.5)]
    apply({"lr": 0.01, "momentum": 0.5}, optimizers[0])
    for optimizer in optimizers:
        step(optimizer, 3)
    assert torch.equal(one[0], other[0])


def test_values_can_be_applied_again_after_a_load_replaced_the_groups():
    optimizer = torch.optim.SGD(parameters(), lr=1.0)
    saved = copy.deepcopy(optimizer.state_dict())
    applied = apply({"lr": 0.1}, optimizer)
    optimizer.load_state_dict(saved)
    assert "as 0.1, but is 1.0" in str(drift([applied]))
    assert apply({"lr": 0.1}, optimizer).values == {"lr": 0.1}


@pytest.mark.parametrize("group", [1, "head"])
def test_a_value_is_set_in_one_group_by_index_or_name(group):
    body, head = parameters(2)
    optimizer = torch.optim.SGD([{"params": [body]}, {"params": [head], "name": "head"}], lr=1.0)
    applied = apply({"head_lr": 0.1, "body_lr": 0.2}, optimizer, group=group, names={"lr": "head_lr"})
    assert applied.values == {"head_lr": 0.1}
    assert [each["lr"] for each in optimizer.param_groups] == [1.0, 0.1]


@pytest.mark.parametrize("group", [2, -1, "tail", True, 0.0])
def test_an_unknown_group_is_refused(group):
    optimizer = torch.optim.SGD([{"params": [each]} for each in parameters(2)], lr=1.0)
    with pytest.raises(ApplyFailed, match="group is"):
        apply({"lr": 0.1}, optimizer, group=group)


def test_groups_that_differ_later_are_drift():
    optimizer = torch.optim.SGD([{"params": [each]} for each in parameters(2)], lr=1.0)
    applied = apply({"lr": 0.1}, optimizer)
    optimizer.param_groups[1]["lr"] = 0.3
    assert "but is '0.1 and 0.3'" in str(drift([applied]))


def test_a_tensor_stays_the_same_tensor():
    rate = torch.tensor(1.0)
    optimizer = torch.optim.Adam(parameters(), lr=rate, capturable=True)
    held = optimizer.param_groups[0]["lr"]
    applied = apply({"lr": 0.1}, optimizer)
    assert optimizer.param_groups[0]["lr"] is held
    assert float(held) == pytest.approx(0.1)
    assert applied.values["lr"] == pytest.approx(0.1)
    assert drift([applied]) is None


def test_an_entry_that_is_not_a_setting_is_refused():
    optimizer = torch.optim.SGD(parameters(), lr=1.0)
    schedulers.ExponentialLR(optimizer, gamma=0.5)
    for name in ("initial_lr", "params", "foreach"):
        with pytest.raises(ApplyFailed, match="no hyperparameter matches"):
            apply({name: 0.1}, optimizer)


def test_modules_and_schedulers_are_refused_with_advice():
    optimizer = torch.optim.SGD(parameters(), lr=1.0)
    with pytest.raises(ApplyFailed, match="apply to its optimizer"):
        apply({"lr": 0.1}, torch.nn.Linear(1, 1))
    with pytest.raises(ApplyFailed, match="scheduler=scheduler"):
        apply({"lr": 0.1}, schedulers.ExponentialLR(optimizer, gamma=0.5))


def test_a_scheduler_that_was_not_given_shows_as_drift():
    optimizer = torch.optim.SGD(parameters(), lr=1.0)
    scheduler = schedulers.ExponentialLR(optimizer, gamma=0.5)
    applied = apply({"lr": 0.1}, optimizer)
    step(optimizer)
    scheduler.step()
    assert "trial.apply(optimizer, scheduler=scheduler)" in str(drift([applied]))


def warmup_then_cosine(optimizer):
    warmup = schedulers.LinearLR(optimizer, start_factor=0.1, total_iters=5)
    return schedulers.SequentialLR(optimizer, [warmup, schedulers.ExponentialLR(optimizer, 0.9)], milestones=[5])


SCHEDULES = {
    "lambda": lambda optimizer: schedulers.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch)),
    "multiplicative": lambda optimizer: schedulers.MultiplicativeLR(optimizer, lambda epoch: 0.9),
    "step": lambda optimizer: schedulers.StepLR(optimizer, step_size=3),
    "multistep": lambda optimizer: schedulers.MultiStepLR(optimizer, milestones=[2, 9]),
    "constant": lambda optimizer: schedulers.ConstantLR(optimizer, factor=0.5, total_iters=9),
    "linear": lambda optimizer: schedulers.LinearLR(optimizer, total_iters=10),
    "exponential": lambda optimizer: schedulers.ExponentialLR(optimizer, gamma=0.9),
    "polynomial": lambda optimizer: schedulers.PolynomialLR(optimizer, total_iters=20, power=2.0),
    "cosine": lambda optimizer: schedulers.CosineAnnealingLR(optimizer, T_max=20, eta_min=0.001),
    "restarts": lambda optimizer: schedulers.CosineAnnealingWarmRestarts(optimizer, T_0=6),
    "sequential": warmup_then_cosine,
    "chained": lambda optimizer: schedulers.ChainedScheduler(
        [schedulers.ExponentialLR(optimizer, 0.9), schedulers.StepLR(optimizer, 4)]
    ),
}


def rates_of(build, base, *, change_at=None, to=None, tensor=False, count=16):
    optimizer = torch.optim.Adam(parameters(), lr=torch.tensor(base) if tensor else base)
    scheduler = build(optimizer)
    rates = []
    for epoch in range(count):
        if epoch == change_at:
            applied = apply({"lr": to}, optimizer, scheduler=scheduler)
            assert applied.values["lr"] == pytest.approx(to)
        rates.append(float(optimizer.param_groups[0]["lr"]))
        step(optimizer)
        scheduler.step()
    if change_at is not None:
        assert drift([applied]) is None
    return rates


@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize("change_at", [0, 4, 7])
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_new_base_rate_continues_the_schedule_as_if_it_had_always_been_the_base(name, change_at, tensor):
    build = SCHEDULES[name]
    changed = rates_of(build, 0.1, change_at=change_at, to=0.04, tensor=tensor)
    assert changed[:change_at] == pytest.approx(rates_of(build, 0.1)[:change_at], rel=1e-4)
    assert changed[change_at:] == pytest.approx(rates_of(build, 0.04)[change_at:], rel=1e-4)


def test_reduce_on_plateau_keeps_its_reductions_under_a_new_base():
    optimizer = torch.optim.SGD(parameters(), lr=1.0)
    scheduler = schedulers.ReduceLROnPlateau(optimizer, factor=0.1, patience=0)
    apply({"lr": 0.5}, optimizer, scheduler=scheduler)
    assert optimizer.param_groups[0]["lr"] == 0.5
    for _ in range(2):
        scheduler.step(1.0)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
    applied = apply({"lr": 0.8}, optimizer, scheduler=scheduler)
    assert applied.values == {"lr": 0.8}
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.08)
    assert drift([applied]) is None


def test_other_settings_are_set_together_with_the_base_rate():
    optimizer = torch.optim.SGD(parameters(), lr=1.0)
    scheduler = schedulers.ExponentialLR(optimizer, gamma=0.5)
    apply({"lr": 0.1, "momentum": 0.5}, optimizer, scheduler=scheduler)
    assert optimizer.param_groups[0]["momentum"] == 0.5


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda optimizer: schedulers.OneCycleLR(optimizer, max_lr=1.0, total_steps=9), "highest and a lowest rate"),
        (lambda optimizer: schedulers.ExponentialLR(torch.optim.SGD(parameters(), lr=1.0), 0.5), "does not schedule"),
        (lambda optimizer: object(), "does not schedule"),
    ],
)
def test_schedulers_without_a_base_rate_of_this_optimizer_are_refused(build, message):
    optimizer = torch.optim.SGD(parameters(), lr=1.0)
    with pytest.raises(ApplyFailed, match=message):
        apply({"lr": 0.1}, optimizer, scheduler=build(optimizer))


def test_a_scheduler_without_a_learning_rate_is_a_typo():
    optimizer = torch.optim.SGD(parameters(), lr=1.0)
    scheduler = schedulers.ExponentialLR(optimizer, gamma=0.5)
    with pytest.raises(ApplyFailed, match="no hyperparameter is applied to lr"):
        apply({"momentum": 0.1, "learning_rate": 0.1}, optimizer, scheduler=scheduler)


def test_a_base_rate_of_zero_cannot_be_scaled_and_nothing_is_set():
    optimizer = torch.optim.SGD(parameters(), lr=0.0)
    scheduler = schedulers.LambdaLR(optimizer, lambda epoch: 1.0)
    with pytest.raises(ApplyFailed, match=r"base rate of group 0 is 0\.0"):
        apply({"lr": 0.1}, optimizer, scheduler=scheduler)
    assert scheduler.base_lrs == [0.0]
