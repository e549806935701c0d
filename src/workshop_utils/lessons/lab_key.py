"""The lab's key: nothing listens without one, whatever the reader's Jupyter configuration says.

Any user of a shared machine reaches a server on 127.0.0.1. The key stays out of the command line, which
every user can read too.
"""

import sys
from typing import Any

from jupyter_server.auth.identity import PasswordIdentityProvider

NO_KEY = (
    "workshop: your Jupyter configuration switches the key off, and anybody on this machine could run code "
    "as you; take the lines with `token` out of the jupyter_*config* files in a config folder that "
    "`jupyter --paths` lists."
)


class KeyRequired(PasswordIdentityProvider):  # type: ignore[misc]  # pyproject.toml: Jupyter is not followed
    """Jupyter's own way to log in, which ends the start where neither token nor password is asked for."""

    def validate_security(self, app: Any, ssl_options: dict[str, Any] | None = None) -> None:
        """End with exit code 2 and one sentence before the server accepts anything."""
        if not self.auth_enabled:
            print(NO_KEY, file=sys.stderr)
            sys.exit(2)
        super().validate_security(app, ssl_options)
