"""Tokens that a decode loop reports, which GPUs are ours, and the energy of a token."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.nvml_stub.build import no_driver_environment
from tests.nvml_stub.fixtures import stub, stub_library
from workshop_utils.hardware.my_gpus import VISIBLE, my_gpus
from workshop_utils.hardware.reading import GpuReading
from workshop_utils.monitor.token_energy import WINDOW_SECONDS, TokenEnergy
from workshop_utils.monitor.tokens import COUNTER, count_tokens, rate_words, tokens_counted

__all__ = ["stub", "stub_library"]
LOOP = """
import json, time
from workshop_utils.monitor.tokens import tokens_counted, tokens_counter
with tokens_counter() as count:
    for _ in range(10):
        time.sleep(0.03)
        count(8)
print(json.dumps([count.tokens, tokens_counted(), count.joules_per_token, str(count)]))
"""


def gpu(index=0, **figures):
    return GpuReading(index, f"GPU-57ab-{index}", "H200", **figures)


def test_a_block_counts_its_tokens_seconds_and_joules(stub):
    tokens, all_tokens, joules_per_token, words = json.loads(stub.run_python(LOOP))
    assert tokens == all_tokens == 80
    # Two GPUs of some hundred watts, for 0.3 s over 80 tokens.
    assert 0.5 < joules_per_token < 10
    assert words.startswith("80 tokens in 0.") and words.endswith(" J/token (NVML energy counter)")


def test_only_my_gpus_are_counted(stub):
    none = json.loads(
        subprocess.run(
            [sys.executable, "-c", LOOP],
            env=stub.environment | {VISIBLE: ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )
    assert none[2] is None


def test_without_a_gpu_there_is_no_number(stub, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LOOP],
        env=stub.environment | no_driver_environment(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    _, _, joules_per_token, words = json.loads(done.stdout)
    assert joules_per_token is None
    assert words.endswith("tokens/s, no energy counter")


def test_threads_report_without_losing_a_token():
    before = tokens_counted()
    threads = [threading.Thread(target=lambda: [count_tokens() for _ in range(20_000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tokens_counted() - before == 80_000


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("2,0", [2, 0]),
        ("1,9,0", [1]),  # what follows a wrong one is not seen
        ("GPU-57ab-1", [1]),
        ("MIG-57ab", [0, 1, 2]),
    ],
)
def test_cuda_visible_devices_says_which_are_mine(visible, found):
    gpus = [gpu(0), gpu(1), gpu(2), GpuReading(3, None, "H200", "unavailable", "another job's")]
    environment = {} if visible is None else {VISIBLE: visible}
    assert [each.index for each in my_gpus(gpus, environment)] == found


def test_energy_is_power_from_the_first_report_to_the_last():
    meter, rates = TokenEnergy(), []
    # Idle for three seconds, then 50 tokens and 2 × 300 J a second.
    for second in range(10):
        tokens = 50 * max(0, second - 3)
        gpus = [gpu(index, power_watts=300.0) for index in (0, 1)]
        rates.append(meter.add(100.0 + second, gpus, tokens))
    assert rates[3] is None
    assert rates[4].joules_per_token == pytest.approx(12)
    assert (rates[9].tokens_per_second, rates[9].joules_per_token) == pytest.approx((50, 12))
    assert str(rates[9]) == "50.0 tokens/s, 12 J/token (integrated power)"
    # After the loop its rate stays for the window, and then goes.
    later = [meter.add(110.0 + second, gpus, tokens) for second in range(12)]
    assert later[2].tokens_per_second == pytest.approx(50)
    assert later[int(WINDOW_SECONDS) + 1] is None


def test_reports_in_large_steps_are_not_overrated():
    meter = TokenEnergy()
    for second in range(10):
        rate = meter.add(float(second), [gpu(power_watts=100.0)], 30 * (second // 3))
    assert (rate.tokens_per_second, rate.joules_per_token) == pytest.approx((10, 10))


def test_power_that_changes_is_taken_between_its_readings():
    meter = TokenEnergy()
    for second in range(6):
        rate = meter.add(float(second), [gpu(power_watts=100.0 * second)], 10 * second)
    # From the first report, in the first second, to the last in the fifth.
    assert rate.joules_per_token == pytest.approx(100 * (5**2 - 1) / 2 / 40)


def test_without_power_there_is_no_number():
    meter = TokenEnergy()
    for second in range(6):
        rate = meter.add(float(second), [gpu()], 10 * second)
    assert rate.joules_per_token is None


def test_a_lost_gpu_leaves_no_number():
    meter = TokenEnergy()
    for second in range(6):
        lost = GpuReading(1, None, "H200", "lost", "fell off the bus")
        gpus = [gpu(power_watts=100.0), gpu(1, power_watts=1.0) if second < 3 else lost]
        rate = meter.add(float(second), gpus, 10 * second)
    assert rate.joules_per_token is None


def test_words_of_a_rate():
    assert rate_words(173.4, 2.104, COUNTER) == "173 tokens/s, 2.1 J/token (NVML energy counter)"
    assert rate_words(9.87, None, COUNTER) == "9.9 tokens/s, no energy counter"
