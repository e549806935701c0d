"""A job from a notebook: the script, what site and Slurm say of it, submitting after a second click, state.

Nothing is submitted without being shown and asked for: the first button only opens the question.
"""

import threading
from html import escape
from typing import Any

import ipywidgets

from workshop_utils.cluster import submit
from workshop_utils.cluster.site import Site
from workshop_utils.cluster.site_rules import check_script
from workshop_utils.errors import WorkshopError
from workshop_utils.lessons.fallback import with_fallback

EVERY_S = 5.0
WHOLE = {"description_width": "initial"}


class SlurmJob:
    """Shows itself in a notebook. The script may be edited; what stands in the field is what is submitted."""

    def __init__(self, script: str, site: Site | None = None, every_s: float = EVERY_S) -> None:
        """Start with a script; ``site`` is compared with first, None to ask Slurm alone."""
        self._site, self._every_s = site, every_s
        self.job: str | None = None
        self._watcher: threading.Thread | None = None
        self._closed = threading.Event()
        self.script = ipywidgets.Textarea(
            script, description="Script", rows=min(28, script.count("\n") + 2), style=WHOLE,
            layout={"width": "auto"},
        )  # fmt: skip
        self.ask = ipywidgets.Button(description="Check it", tooltip="the site file, then sbatch --test-only")
        self.submit = ipywidgets.Button(description="Submit …", tooltip="asks once more before it does")
        self.yes = ipywidgets.Button(description="Yes, submit it", button_style="primary")
        self.no = ipywidgets.Button(description="No")
        self.cancel = ipywidgets.Button(description="Cancel the job", button_style="warning")
        self.said, self.state = ipywidgets.HTML(), ipywidgets.HTML()
        self.buttons = ipywidgets.HBox()
        for button, action in (
            (self.ask, self.check), (self.submit, self._question), (self.no, self._answered_no),
            (self.yes, self._send), (self.cancel, self._end),
        ):  # fmt: skip
            button.on_click(lambda _, action=action: self._carefully(action))
        self.script.observe(lambda _: self._answered_no(), names="value")
        self._show(self.ask, self.submit)

    def check(self) -> None:
        """Show what the site file, and then Slurm, say of the script; submits nothing."""
        if not self._refused():
            self._say(str(submit.test_only(self.script.value, self._site)))

    def close(self) -> None:
        """Watch no longer; the job goes on."""
        self._closed.set()

    def _refused(self) -> bool:
        """Show what the site's rules have against the script, and whether there is anything."""
        problems = check_script(self.script.value, self._site) if self._site else []
        if problems:
            items = "".join(f"<li>{escape(problem.sentence)}</li>" for problem in problems)
            self._say(f"The site's rules say no:<ul>{items}</ul>", html=True)
        return bool(problems)

    def _question(self) -> None:
        if self._refused():
            return
        lines = len(self.script.value.splitlines())
        self._say(f"Submit the {lines} lines above as they stand, to be counted on your account?")
        self._show(self.yes, self.no)

    def _answered_no(self) -> None:
        if self.yes in self.buttons.children:
            self._say("Nothing was submitted.")
            self._show(self.ask, self.submit)

    def _send(self) -> None:
        try:
            self.job = submit.submit(self.script.value, self._site, "workshop")
        except WorkshopError:
            self._show(self.ask, self.submit)
            raise
        self._say(f"Submitted as job {self.job}.")
        self.script.disabled = True
        self._show(self.cancel)
        self._watcher = threading.Thread(target=self._watch, name="workshop-slurm-job", daemon=True)
        self._watcher.start()

    def _end(self) -> None:
        assert self.job is not None
        submit.cancel(self.job)
        self._say(f"Asked Slurm to cancel job {self.job}.")

    def _watch(self) -> None:
        """Show the job's state until it is over, or the widget is closed."""
        assert self.job is not None
        while not self._closed.is_set():
            try:
                states = submit.job_states(self.job)
            except WorkshopError as error:
                self.state.value = escape(f"Its state is not known: {error}")
            else:
                self.state.value = (
                    "<br>".join(escape(str(each)) for each in states) or "Slurm has forgotten it."
                )
                if all(each.over for each in states):
                    self.script.disabled = False
                    self._show(self.ask, self.submit)
                    return
            self._closed.wait(self._every_s)

    def _carefully(self, action: Any) -> None:
        """Do what a button is for; what goes wrong is a sentence below."""
        try:
            action()
        except WorkshopError as error:
            self._say(f"✗ {error}")

    def _say(self, text: str, *, html: bool = False) -> None:
        self.said.value = text if html else escape(text)

    def _show(self, *buttons: Any) -> None:
        self.buttons.children = buttons

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        box = ipywidgets.VBox([self.script, self.buttons, self.said, self.state])
        text = self.script.value
        return with_fallback(box, f"<pre>{escape(text)}</pre>", text)
