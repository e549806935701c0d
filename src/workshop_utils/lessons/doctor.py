"""The preflight: what this machine has, what is missing, and the next step, before a notebook finds out."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

OK = "ok"
WARNING = "warning"
FAILED = "failed"
SIGNS = {OK: "✓", WARNING: "!", FAILED: "✗"}
# Neither black nor white behind these is named: they read on a light and on a dark theme.
COLOURS = {OK: "#2e9e5b", WARNING: "#c77700", FAILED: "#d64545"}
WHOLE_LINE = "text-align:left;white-space:nowrap"


@dataclass(frozen=True)
class Check:
    """One finding: ``status`` is ``ok``, ``warning`` or ``failed``; the next step is empty when it is ok."""

    name: str
    status: str
    sentence: str
    next_step: str = ""


@dataclass(frozen=True)
class Report:
    """All findings, as a table in a terminal and in a notebook."""

    checks: tuple[Check, ...]

    @property
    def failed(self) -> bool:
        """Say whether something must be put right before the notebooks work."""
        return any(check.status == FAILED for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """Return ``{"failed": bool, "checks": [{"name", "status", "sentence", "next_step"}]}``."""
        return {"failed": self.failed, "checks": [asdict(check) for check in self.checks]}

    def __str__(self) -> str:
        """Return one line for each finding, and one for each next step."""
        width = max(len(check.name) for check in self.checks)
        lines = []
        for check in self.checks:
            lines.append(f"{SIGNS[check.status]} {check.name:<{width}}  {check.sentence}")
            if check.next_step:
                lines.append(f"  {'':<{width}}  → {check.next_step}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><td style="{WHOLE_LINE};font-weight:bold;color:{COLOURS[check.status]}">'
            f"{SIGNS[check.status]} {check.status}</td>"
            f'<td style="{WHOLE_LINE}">{escape(check.name)}</td>'
            f'<td style="text-align:left;white-space:normal">{escape(check.sentence)}'
            + (f"<br><em>→ {escape(check.next_step)}</em>" if check.next_step else "")
            + "</td></tr>"
            for check in self.checks
        )
        return f"<table><tbody>{rows}</tbody></table>"


def run_doctor() -> Report:
    """Check Python, torch, GPUs, the job, folders, caches, the model, kernel and panel; under five seconds.

    Imports no torch. A check that breaks is a finding itself and hides no other.
    """
    from workshop_utils.lessons import doctor_folders, doctor_machine

    return Report(tuple(guarded(*item) for item in (*doctor_machine.CHECKS, *doctor_folders.CHECKS)))


def guarded(name: str, check: Callable[[], Check]) -> Check:
    """Run one check; an unforeseen error becomes its finding."""
    try:
        return check()
    except Exception as error:
        return Check(name, FAILED, f"could not be checked ({type(error).__name__}: {error})", "report this.")
