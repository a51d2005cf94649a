"""Signals of the processes that tests start."""

import signal


def heed_signals() -> None:
    """Restore SIGINT and SIGHUP in a child: a test runner or `nohup` may have them ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
