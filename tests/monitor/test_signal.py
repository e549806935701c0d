"""A signal is not lost, and counts once."""

import threading
import time

from workshop_utils.monitor.signal import Signal


def test_given_before_the_wait_counts_once():
    signal = Signal()
    signal.give()
    signal.give()
    assert signal.wait(0)
    assert not signal.wait(0.01)
    assert not signal.wait(-1.0)


def test_wakes_who_waits():
    signal = Signal()
    threading.Timer(0.1, signal.give).start()
    start = time.monotonic()
    assert signal.wait(5.0)
    assert time.monotonic() - start < 2.0
