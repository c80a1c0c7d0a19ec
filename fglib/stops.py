"""Ctrl-C and the signals that end a process: one exception for all, held back while a training step is under way."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

# Ctrl-C, what a scheduler sends and what a closing terminal sends; Windows has no SIGHUP
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def interrupt(number: int, frame: FrameType | None) -> None:
    """A signal handler: stop as by Ctrl-C."""
    raise KeyboardInterrupt(signal.Signals(number).name)


def catch() -> None:
    """Let every signal that would end this process interrupt it instead; one that is ignored stays so."""
    for number in SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, interrupt)


def end_with_parent() -> None:
    """End as by SIGTERM when the process that holds the other end of this one's standard input is gone."""

    def watch() -> None:
        sys.stdin.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def held_back() -> Iterator[list[int]]:
    """Hold signals back for the block: they are in the list that it yields, and the first takes effect at its end.

    A second one that is Ctrl-C takes effect at once: someone is waiting. Outside the main thread, where Python
    handles no signals, none is held.
    """
    held: list[int] = []
    before = {}

    def hold(number: int, frame: FrameType | None) -> None:
        if held and number == signal.SIGINT:
            signal.signal(number, before[number])
            signal.raise_signal(number)
        held.append(number)

    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):  # None: not one of Python's
                before[number] = signal.signal(number, hold)
    try:
        yield held
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if held:
            signal.raise_signal(held[0])


def leave(word: str = "") -> None:
    """From now on these signals end this process at once, with this last word."""

    def end(number: int, frame: FrameType | None) -> None:
        with suppress(OSError):
            os.write(2, word.encode())  # whatever a stream is in the middle of
        os._exit(1)

    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)
