"""Signals that a test sends are heeded whoever started the run."""

import signal

# A run under nohup, or one that a shell put into the background, ignores these; so would what tests start.
for number, usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)
