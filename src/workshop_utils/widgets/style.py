"""The calculator's look: JupyterLab's colours for text, the figures' own and a pattern for a kind of term.

The pattern tells the kinds apart where colour does not.
"""

from pathlib import Path
from typing import get_args

from workshop_utils.figures.style import COLOURS
from workshop_utils.memory.term import Kind

KINDS: tuple[Kind, ...] = get_args(Kind)
KIND_WORDS: dict[Kind, str] = {
    "weights": "weights",
    "kv_cache": "KV cache",
    "activations": "activations",
    "reserve": "reserve",
    "process": "process (driver, CUDA context)",
}
DARK, LIGHT = "rgba(0,0,0,.34)", "rgba(255,255,255,.5)"
PATTERNS: dict[Kind, str] = {
    "weights": "none",
    "kv_cache": f"repeating-linear-gradient(45deg,{DARK} 0 2px,transparent 2px 7px)",
    "activations": f"radial-gradient({LIGHT} 1.3px,transparent 1.7px) 0 0/6px 6px",
    "reserve": f"repeating-linear-gradient(90deg,{DARK} 0 1px,transparent 1px 5px)",
    "process": f"repeating-linear-gradient(0deg,{LIGHT} 0 1px,transparent 1px 4px)",
}


def style_html() -> str:
    """Return the style sheet, once for a calculator."""
    look = Path(__file__).with_name("calculator.css").read_text(encoding="utf-8")
    kinds = "".join(
        f".workshop-calculator .kind-{kind} {{ background: {PATTERNS[kind]}; "
        f"background-color: {COLOURS[kind]}; forced-color-adjust: none; }}\n"
        for kind in KINDS
    )
    return f"<style>{look}{kinds}</style>"


def box_html(*parts: str) -> str:
    """Return a block in the calculator's look; nothing for nothing."""
    inside = "".join(parts)
    return f'<div class="workshop-calculator">{inside}</div>' if inside else ""


def chip_html(kind: Kind) -> str:
    """Return a small sample of a kind's colour and pattern."""
    return f'<span class="chip kind-{kind}" aria-hidden="true"></span>'
