"""Learning-rate schedules against those of torch and scikit-learn's formulas."""

import pytest
import torch

from skbinary.solvers.minibatch.schedules import (
    Adaptive,
    Cosine,
    InverseScaling,
    OneCycle,
    Schedule,
    Warmup,
)


def torch_rates(scheduler_class, n, **settings):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = scheduler_class(optimizer, **settings)
    rates = []
    for _ in range(n):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_schedule_constant_keeps_its_rate():
    schedule = Schedule(0.1)
    schedule.after_step()
    schedule.after_epoch(1000)
    assert schedule.rate == 0.1
    assert schedule.on_plateau()


def test_inverse_scaling_depends_on_rows_seen():
    schedule = InverseScaling(0.1, 0.5)
    schedule.after_epoch(99)
    assert schedule.rate == pytest.approx(0.1 / 100**0.5)


def test_adaptive_on_plateau_divides_by_five_until_1e_6():
    schedule = Adaptive(0.1)
    assert not schedule.on_plateau()
    assert schedule.rate == pytest.approx(0.02)
    while not schedule.on_plateau():
        pass
    assert schedule.rate <= 1e-6


def test_cosine_every_epoch_equals_torch():
    schedule, rates = Cosine(0.1, 10), []
    for _ in range(10):
        rates.append(schedule.rate)
        schedule.after_epoch(0)
    expected = torch_rates(torch.optim.lr_scheduler.CosineAnnealingLR, 10, T_max=10)
    assert rates == pytest.approx(expected, abs=1e-12)
    assert schedule.rate == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("n_steps", [10, 57, 200])
def test_onecycle_every_step_equals_torch(n_steps):
    schedule, rates = OneCycle(0.1, n_steps), []
    for _ in range(n_steps):
        rates.append(schedule.rate)
        schedule.after_step()
    expected = torch_rates(
        torch.optim.lr_scheduler.OneCycleLR,
        n_steps - 1,  # torch raises for the step after the last one
        max_lr=0.1,
        total_steps=n_steps,
        cycle_momentum=False,
    )
    assert rates[: n_steps - 1] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("n_steps", [1, 2, 3])
def test_onecycle_few_steps_stays_below_the_peak(n_steps):
    schedule = OneCycle(0.1, n_steps)
    for _ in range(n_steps + 2):
        assert 0 < schedule.rate <= 0.1
        schedule.after_step()


def test_warmup_every_step_equals_torch():
    schedule, rates = Warmup(0.1), []
    for _ in range(400):
        rates.append(schedule.rate)
        schedule.after_step()
    n = Warmup.N_STEPS
    linear = torch.optim.lr_scheduler.LinearLR
    expected = torch_rates(linear, 400, start_factor=1 / n, total_iters=n - 1)
    assert rates == pytest.approx(expected, rel=1e-9)
    assert rates[n - 1 :] == [0.1] * (401 - n)


def test_warmup_resumed_after_some_steps_continues():
    schedule, resumed = Warmup(0.1), Warmup(0.1)
    for _ in range(20):
        schedule.after_step()
    resumed.resume(n_seen=640, n_steps=20)
    assert resumed.rate == schedule.rate
