"""The report of ``make test-gpu``: checks and figures with provenance, as JSON and as a table."""

import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from json import dumps
from pathlib import Path
from typing import Any

from workshop_utils.measure.measurement import Measurement


@dataclass(frozen=True)
class Check:
    """One thing that is right or wrong, and the evidence."""

    name: str
    passed: bool
    evidence: str


@dataclass(frozen=True)
class Figure:
    """One measured speed beside the catalogue's figure, which is None where it has none."""

    name: str
    value: float
    unit: str
    catalogue: float | None

    def row(self) -> str:
        share = (
            f"{self.catalogue:10.0f} {self.value / self.catalogue:6.0%}"
            if self.catalogue
            else f"{'–':>10} {'–':>6}"
        )
        return f"{self.name:44} {self.value:10.1f} {share}  {self.unit}"


def write_report(folder: Path, checks: list[Check], figures: list[Figure], provenance: Measurement) -> Path:
    """Write ``gpu-report-HOST-DATE.json`` and return its path; both times in the name are UTC."""
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder.mkdir(parents=True, exist_ok=True)
    report = folder / f"gpu-report-{platform.node() or 'host'}-{moment}.json"
    facts = asdict(provenance)
    content: dict[str, Any] = {
        "passed": all(check.passed for check in checks),
        "checks": [asdict(check) for check in checks],
        "figures": [asdict(figure) for figure in figures],
        **{name: facts[name] for name in ("command", "hardware", "versions", "date", "commit", "settings")},
    }
    report.write_text(dumps(content, indent=1) + "\n", encoding="utf-8")
    return report


def table(checks: list[Check], figures: list[Figure], provenance: Measurement) -> str:
    """Return what a person reads: checks first, then the figures."""
    lines = [provenance.label, ""]
    lines += [f"{'ok    ' if check.passed else 'FAILED'}  {check.name}: {check.evidence}" for check in checks]
    lines += ["", f"{'median':44} {'measured':>10} {'catalogue':>10} {'share':>6}"]
    return "\n".join(lines + [figure.row() for figure in figures])
