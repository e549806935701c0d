"""A pytest plugin: with ``CI=true`` a skipped test is a failed one, because nobody reads what was skipped."""

import os
from collections.abc import Generator

import pytest

STRICT = os.environ.get("CI") == "true"


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return why something was skipped: the last part of (file, line, reason)."""
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)


def fail(report: pytest.TestReport | pytest.CollectReport) -> None:
    # Expected failures (xfail) look like skips, and are none.
    if STRICT and report.skipped and not hasattr(report, "wasxfail"):
        reason = reason_of(report)
        report.outcome = "failed"
        report.longrepr = f"{reason.strip()} (a skip, which CI=true does not allow)"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    fail(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    fail(report)
    return report
