"""``make test``: every stage runs, whatever another one says; what failed is shown in full, then a table.

Stages stand in lanes. Lanes run beside each other; stages of one lane run one after another, so that
notebooks and the browser test, which measure times, do not start while unit tests use both cores.
"""

import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
REPORTS = ROOT / "reports" / "tests"
LANES = (("unit", "notebooks", "ui"), ("lint", "panel", "install"))
HEARTBEAT_SECONDS = 60


@dataclass(frozen=True)
class Outcome:
    """What one stage came to."""

    stage: str
    passed: bool
    seconds: float

    @property
    def log(self) -> Path:
        """Everything that the stage printed."""
        return REPORTS / f"{self.stage}.log"


def run_stage(stage: str) -> Outcome:
    """Run ``make test-STAGE`` with its output in a file."""
    started = time.monotonic()
    say(f"▶ {stage}")
    with (REPORTS / f"{stage}.log").open("wb") as log:
        # Inner makes are complete in themselves, not jobs of an outer `make -j`.
        environment = {
            name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MFLAGS"}
        }
        command = ["make", "--no-print-directory", f"test-{stage}"]
        done = subprocess.run(
            command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            check=False, env=environment,
        )  # fmt: skip
    outcome = Outcome(stage, done.returncode == 0, time.monotonic() - started)
    say(f"{'✔' if outcome.passed else '✘'} {stage}: {last_line(outcome.log)} ({outcome.seconds:.0f} s)")
    return outcome


def last_line(log: Path) -> str:
    """Return the last line that says something: pytest's and mypy's summaries stand there."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    words = [line for line in lines if not line.startswith("make")]
    return (words or ["no output"])[-1].strip(" =")


def tests_counted(outcomes: list[Outcome]) -> str:
    """Return one line over all stages, from the summaries that pytest printed."""
    logs = "\n".join(outcome.log.read_text(encoding="utf-8", errors="replace") for outcome in outcomes)
    summaries = re.findall(r"^=+ (.*) in [\d.]+s.*=$", logs, re.MULTILINE)
    passed, failed = (
        sum(int(count) for summary in summaries for count in re.findall(rf"(\d+) {words}", summary))
        for words in ("passed", "(?:failed|error)")
    )
    return f"{passed} passed, {failed} failed"


def say(text: str) -> None:
    """Print at once: CI shows nothing that stands in a buffer."""
    print(text, flush=True)


def run_lane(stages: tuple[str, ...], outcomes: list[Outcome]) -> None:
    """Run the stages of one lane in order."""
    for stage in stages:
        outcomes.append(run_stage(stage))


def main() -> int:
    """Run all lanes; 0 when every stage passed."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    outcomes: list[Outcome] = []
    threads = [threading.Thread(target=run_lane, args=(lane, outcomes), daemon=True) for lane in LANES]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        for thread in threads:
            thread.join(HEARTBEAT_SECONDS / len(threads))
        say(f"  {time.monotonic() - started:.0f} s")
    failed = [outcome for outcome in outcomes if not outcome.passed]
    for outcome in failed:
        say(f"\n━━━ {outcome.stage} failed; all of {outcome.log.relative_to(ROOT)}:")
        say(outcome.log.read_text(encoding="utf-8", errors="replace"))
    say("")
    for outcome in outcomes:
        say(f"{'passed' if outcome.passed else 'FAILED':8}{outcome.stage:12}{outcome.seconds:6.0f} s")
    say(f"{len(failed)} of {len(outcomes)} stages failed; {time.monotonic() - started:.0f} s in all.")
    say(tests_counted(outcomes))
    return 1 if failed or len(outcomes) < sum(map(len, LANES)) else 0


if __name__ == "__main__":
    sys.exit(main())
