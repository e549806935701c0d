"""The lab's login form, posted from the page of a portal such as Open OnDemand.

The portal's page holds the session's password and posts it as soon as the reader clicks. It cannot know the
server's XSRF token, which comes with the first answer, so Jupyter would refuse it. The usual way out,
``ServerApp.disable_check_xsrf``, takes the protection from every route; here the one form goes without, and
everything behind it keeps it. What the token keeps off is a page that acts with the reader's cookie: this
form needs no cookie, but the password, and a page that knew it would need no forged request.
"""

from jupyter_server.auth.login import LoginFormHandler


class PortalLogin(LoginFormHandler):  # type: ignore[misc]  # pyproject.toml: Jupyter is not followed
    """Jupyter's own login form, which takes a password without an XSRF token."""

    def check_xsrf_cookie(self) -> None:
        """Ask for none."""
