"""Tokens a second and joules a token, from what loops report and what the GPUs draw."""

import json

import pytest

from workshop_utils.hardware.my_gpus import VISIBLE
from workshop_utils.hardware.reading import GpuReading, Reading
from workshop_utils.monitor import token_rates
from workshop_utils.monitor.private_file import write_private
from workshop_utils.monitor.sample import Sample
from workshop_utils.monitor.token_energy import TokenRate
from workshop_utils.monitor.token_rates import TokenRates, watts_of
from workshop_utils.monitor.tokens_file import JOB_VARIABLE, tokens_file


class Machine:
    """A clock, the power of the GPUs, and the loops of processes 1, 2, …"""

    def __init__(self, *watts):
        self.now, self.watts, self.samples = 100.0, watts, []
        self.rates = TokenRates(lambda seconds: tuple(self.samples), lambda: self.now)

    def step(self, seconds=1.0, **tokens):
        """Let time pass; ``p1=80``: process 1 has made 80 tokens until then."""
        self.now += seconds
        gpus = tuple(GpuReading(at, f"GPU-{at}", "H200", power_watts=w) for at, w in enumerate(self.watts))
        self.samples.append(Sample(self.now, self.now, Reading.of(gpus), Reading("unavailable", None, None)))
        for process, count in tokens.items():
            told = json.dumps({"ticks": self.now - 0.3, "tokens": count, "job": None})
            write_private(tokens_file(int(process[1:])), told)
        return self.rates.read()


def rates(tokens_per_second, joules_per_token):
    return TokenRate(pytest.approx(tokens_per_second), joules_per_token and pytest.approx(joules_per_token))


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    for name in (VISIBLE, JOB_VARIABLE):
        monkeypatch.delenv(name, raising=False)


def test_a_loop_has_rates_from_its_second_report_on():
    machine = Machine(300.0, 100.0)
    assert machine.step() is None
    assert machine.step(p1=100) is None
    assert machine.step(p1=140) == rates(40, 10)
    # Whatever it made before the last ten seconds.
    for tokens in range(220, 2300, 80):
        rate = machine.step(p1=tokens)
    assert rate == rates(80, 5)


def test_loops_add_up():
    machine = Machine(400.0)
    machine.step(p1=0, p2=1000)
    assert machine.step(p1=30, p2=1010) == rates(40, 10)


def test_loops_that_follow_each_other_do_not():
    machine = Machine(400.0)
    machine.step(p1=0)
    machine.step(p1=40)
    machine.step(p2=0)
    assert machine.step(p2=40).tokens_per_second == pytest.approx(80 / 3, abs=0.001)


def test_a_loop_that_has_ended_is_told_of_for_ten_seconds():
    machine = Machine(400.0)
    machine.step(p1=0)
    machine.step(p1=40)
    # Its rate is that of the time in which it made tokens.
    assert machine.step(seconds=8) == rates(40, 10)
    assert machine.step(seconds=4) is None


def test_a_loop_whose_file_is_gone_is_no_more():
    machine = Machine(400.0)
    machine.step(p1=0)
    assert machine.step(p1=40) is not None
    tokens_file(1).unlink()
    assert machine.step() is None
    assert machine.rates.read() is None


def test_another_process_of_the_same_number_begins_anew():
    machine = Machine(400.0)
    machine.step(p1=1000)
    machine.step(p1=1040)
    assert machine.step(p1=5) is None
    assert machine.step(p1=15).tokens_per_second == 10


def test_a_loop_that_tells_the_same_again_has_made_nothing():
    machine = Machine(400.0)
    machine.step(p1=8)
    assert machine.step(p1=8) is None
    assert machine.step(seconds=12, p1=8) is None
    assert machine.step(p1=16) is None
    assert machine.step(p1=24).tokens_per_second == 8


def test_a_report_of_another_boot_counts_for_nothing():
    machine = Machine(400.0)
    for ticks in (5.0, 1e6):
        write_private(tokens_file(1), json.dumps({"ticks": ticks, "tokens": 8, "job": None}))
        assert machine.step() is None


@pytest.mark.parametrize("watts", [(), (300.0, None)])
def test_without_the_power_of_every_gpu_there_are_no_joules(watts):
    machine = Machine(*watts)
    machine.step(p1=0)
    assert machine.step(p1=40) == rates(40, None)


def test_what_a_gpu_drew_before_and_after_is_not_the_loops():
    machine = Machine(100.0)
    for _ in range(5):
        machine.step()
    machine.step(p1=0)  # what the driver says of power is of the second before
    machine.watts = (500.0,)
    assert machine.step(p1=100) == rates(100, 5)
    machine.step(p1=200)
    machine.watts = (100.0,)
    for _ in range(4):
        assert machine.step() == rates(100, 5)


def test_steps_that_a_loop_hands_over_at_once_are_no_rate():
    machine = Machine(400.0)
    machine.step(p1=0)
    assert machine.step(seconds=0.05, p1=256) is None
    assert machine.step(seconds=0.95, p1=300).tokens_per_second == pytest.approx(300)


def test_only_the_gpus_of_this_job_count(monkeypatch):
    monkeypatch.setenv(VISIBLE, "1")
    machine = Machine(300.0, 100.0)
    machine.step()
    assert machine.samples[0].my_gpus == (1,)
    assert watts_of(machine.samples[0]) == 100


def test_a_folder_that_did_not_change_is_not_listed(monkeypatch):
    machine = Machine(400.0)
    machine.step(p1=0)
    machine.step(seconds=20)
    monkeypatch.setattr(token_rates, "read_tokens", lambda folder: pytest.fail("was listed"))
    assert machine.step() is None
