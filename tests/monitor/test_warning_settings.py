"""The query that says of what to warn."""

import pytest

from workshop_utils.monitor.warning_settings import WarningSettings, read_settings


def test_a_client_that_says_nothing_changes_nothing():
    assert read_settings({"hz": "1", "token": "x"}) == (None, None)


def test_all_may_be_said():
    query = {
        "gpu_memory_percent": "80", "job_memory_percent": "0", "idle_minutes": "0.5", "throttling": "0",
        "watch_alone": "1", "unit": "GB",
    }  # fmt: skip
    assert read_settings(query) == (WarningSettings(80.0, None, 0.5, False, True, "GB"), None)


@pytest.mark.parametrize(
    ("name", "text", "note"),
    [
        (
            "gpu_memory_percent",
            "150",
            "gpu_memory_percent=150 is neither 0 (off) nor a number from 0.1 to 100; 95 is used.",
        ),
        (
            "idle_minutes",
            "soon",
            "idle_minutes=soon is neither 0 (off) nor a number from 0.01 to 1440; 15 is used.",
        ),
        ("idle_minutes", "nan", "15 is used"),
        ("throttling", "yes", "throttling=yes is neither 0 (off) nor 1 (on); 1 is used."),
        ("unit", "MB", "unit=MB is neither GiB nor GB; GiB is used."),
    ],
)
def test_a_bad_value_falls_back_with_a_sentence(name, text, note):
    settings, found = read_settings({name: text})
    assert settings == WarningSettings()
    assert note in found


def test_a_long_value_is_cut():
    _, note = read_settings({"unit": "x" * 5000})
    assert len(note) < 120
