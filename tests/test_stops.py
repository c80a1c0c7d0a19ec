"""Signals: one exception for all of them, held back where that would leave something half done."""

import signal
import subprocess
import sys
import threading

import pytest

from fglib import stops
from fglib.stops import SIGNALS, catch, held_back, interrupt


@pytest.fixture(autouse=True)
def handlers():
    """Leaves the handlers of this process as they were."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_is_held_back_takes_effect_at_the_end_of_the_block(number):
    signal.signal(number, interrupt)
    done = []
    with pytest.raises(KeyboardInterrupt, match=signal.Signals(number).name), held_back() as held:
        assert not held
        signal.raise_signal(number)
        done.append(list(held))
    assert done == [[number]] and signal.getsignal(number) is interrupt


def test_without_a_signal_nothing_happens():
    before = [signal.getsignal(number) for number in SIGNALS]
    with held_back() as held:
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert held == [] and [signal.getsignal(number) for number in SIGNALS] == before


def test_what_was_set_before_is_what_takes_effect():
    seen = []
    signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    with held_back() as held:
        signal.raise_signal(signal.SIGTERM)
        assert held == [signal.SIGTERM] and seen == []
    assert seen == [signal.SIGTERM]


def test_a_block_that_fails_stops_all_the_same():
    with pytest.raises(KeyboardInterrupt), held_back():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("the reason")


@pytest.mark.parametrize("first", SIGNALS)
def test_ctrl_c_on_top_of_another_takes_effect_at_once(first):
    signal.signal(first, interrupt)
    after = []
    with pytest.raises(KeyboardInterrupt), held_back():
        signal.raise_signal(first)
        after.append("first")
        signal.raise_signal(signal.SIGINT)
        after.append("second")
    assert after == ["first"]


def test_a_scheduler_that_repeats_itself_hastens_nothing():
    signal.signal(signal.SIGTERM, interrupt)
    with pytest.raises(KeyboardInterrupt), held_back() as held:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert held == [signal.SIGTERM] * 2


def test_what_is_ignored_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    catch()
    stops.leave()
    with held_back() as held:
        signal.raise_signal(signal.SIGINT)
    assert held == [] and signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_thread_holds_nothing_back_and_trains():
    found = []

    def block():
        with held_back() as held:
            found.append(held)

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert found == [[]]


def test_signals_that_would_kill_are_caught_and_other_handlers_kept():
    mine = lambda number, frame: None  # noqa: E731
    signal.signal(signal.SIGTERM, mine)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    catch()
    assert signal.getsignal(signal.SIGTERM) is mine and signal.getsignal(signal.SIGHUP) is interrupt


@pytest.mark.parametrize("word", ["", "a last word\n"])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_after_the_last_word_a_signal_ends_the_process(name, word):
    script = (
        f"import signal; from fglib.stops import leave; leave({word!r}); signal.raise_signal(signal.{name}); print(1)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", word)
