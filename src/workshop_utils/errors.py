"""The one exception that reaches a reader."""


class WorkshopError(Exception):
    """Bad input or a broken surrounding, told in one sentence.

    The sentence names the value, the valid choices and the next step. The command line prints it and
    exits with code 2; a notebook cell shows it. Nothing may be half-written when it is raised.
    """
