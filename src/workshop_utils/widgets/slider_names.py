"""Names for the handles of sliders, which a screen reader else calls by nothing but their value."""

from pathlib import Path

import anywidget


class SliderNames(anywidget.AnyWidget):  # type: ignore[misc]
    """Shows nothing; beside sliders of ipywidgets it gives each handle the words of its label."""

    _esm = Path(__file__).with_name("slider_names.js").read_text(encoding="utf-8")
