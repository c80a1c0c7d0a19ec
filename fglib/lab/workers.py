"""Many runs: one after another in this process, or several at a time that share a device, each in its own process."""

import io
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection, wait

from fglib.errors import FglibError, RecordError
from fglib.lab.plan import Plan
from fglib.lab.records import write_record
from fglib.lab.refresh import marked, to_train
from fglib.stops import catch, leave

SPAWN = multiprocessing.get_context("spawn")  # a fork would share the parent's CUDA, which cannot be
PATIENCE = 60.0  # seconds for the step under way and the checkpoint of a run that is stopped
# tqdm's defaults, for runs that share a screen: no bar, and a line only so often (seconds)
LINES = {
    "TQDM_MININTERVAL": "30",
    "TQDM_MAXINTERVAL": "30",
    "TQDM_BAR_FORMAT": "{desc}: {percentage:.0f}% {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]",
}


class BusyError(FglibError):
    """A run that another process is training."""


def train_plan(
    plan: Plan,
    *,
    device: str = "auto",
    data_dir: str | None = None,
    refresh: bool = False,
    deadline: float | None = None,
    label: str = "",
) -> bool:
    """Train (or go on with) one run and record it; False if time ran out, with a checkpoint to go on from.

    `refresh` trains again what is recorded, and goes on with a refresh that was stopped.

    Raises BusyError when another process trains this run or the one that it starts from.
    """
    # torch is imported only here: listing, loading and help stay quick
    from fglib.lab import refresh as again
    from fglib.lab.lock import alone
    from fglib.lab.run import train_one

    how = {"device": device, "data_dir": data_dir, "deadline": deadline, "label": label}

    with ExitStack() as locks:
        for checkpoint in plan.writes:
            if not locks.enter_context(alone(checkpoint)):
                raise BusyError(f"another process trains {checkpoint.parent.name}/{checkpoint.stem}; left to that one")
        if refresh:
            again.begin(plan)
        elif plan.recorded:  # by another process, since it was asked last
            return True
        try:
            outcome = train_one(plan, **how)
        except RecordError:
            if not refresh:
                raise
            again.discard(plan)  # damaged, or of other code: a refresh does not go on with that
            outcome = train_one(plan, **how)
        if outcome is not None:
            write_record(plan, *outcome)
            again.end(plan)
    return outcome is not None


def train_plans(
    wanted: Sequence[Plan],
    *,
    device: str = "auto",
    data_dir: str | None = None,
    refresh: bool = False,
    deadline: float | None = None,
) -> Iterator[tuple[Plan, bool]]:
    """Train every plan without a record (all of them with `refresh`); yields (plan, finished) as each ends.

    A refresh that was stopped goes on with the runs that it had left, and with those alone.
    `deadline` is a time of `time.monotonic()`; the run under way is then checkpointed and yielded unfinished.
    """
    where = {"device": device, "data_dir": data_dir}
    for plan, outcome in train_all(wanted, refresh=refresh, deadline=deadline, **where):
        if isinstance(outcome, FglibError):
            raise outcome
        yield plan, outcome


def train_all(
    wanted: Sequence[Plan],
    jobs: int = 1,
    *,
    refresh: bool = False,
    deadline: float | None = None,
    **where: str | None,
) -> Iterator[tuple[Plan, bool | FglibError]]:
    """Train every plan without a record, or those of a refresh (`fglib.lab.refresh`), in order, `jobs` at a time.

    Yields (plan, outcome) as each ends: True for recorded, False for out of time and checkpointed, or its error,
    after which the others go on. `deadline` is a time of `time.monotonic()`; after it none is started. `where` is
    handed to `train_plan`: device and data_dir.
    """
    plans = to_train(wanted) if refresh else [plan for plan in wanted if not plan.recorded]
    todo = [
        (plan, f"[{i}/{len(plans)}] {plan.experiment.name} {plan.variant} seed {plan.seed}")
        for i, plan in enumerate(plans, start=1)
    ]
    how = {"refresh": refresh, "deadline": deadline, **where}
    return _in_turn(todo, how) if jobs == 1 else _side_by_side(todo, jobs, how)


def _in_turn(todo: list[tuple[Plan, str]], how: dict) -> Iterator[tuple[Plan, bool | FglibError]]:
    for plan, label in todo:
        outcome = _outcome(plan, label, how)
        yield plan, outcome
        if outcome is False or _past(how["deadline"]):
            return


def _side_by_side(todo: list[tuple[Plan, str]], jobs: int, how: dict) -> Iterator[tuple[Plan, bool | FglibError]]:
    running: dict[Connection, tuple[multiprocessing.Process, Plan, set]] = {}
    try:
        while running or (todo and not _past(how["deadline"])):
            if len(running) < jobs and not _past(how["deadline"]):
                taken = set().union(*(writes for _, _, writes in running.values()))
                # a run waits while another one trains what it starts from
                free = next((item for item in todo if taken.isdisjoint(item[0].writes)), None)
                if free is not None:
                    todo.remove(free)
                    connection, process = _start(*free, jobs, how)
                    running[connection] = process, free[0], set(free[0].writes)
                    continue
            for connection in wait(list(running)):
                process, plan, _ = running.pop(connection)
                yield plan, _result(connection, process)
    finally:  # nothing runs any more, unless this was stopped
        _end([process for process, _, _ in running.values()])


def _start(plan: Plan, label: str, jobs: int, how: dict) -> tuple[Connection, multiprocessing.Process]:
    here, there = SPAWN.Pipe(duplex=False)
    process = SPAWN.Process(target=_work, args=(there, plan, label, jobs, how))
    # Ctrl-C reaches every process of a terminal: the children inherit that it is ignored and are ended by this one
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, before)
    there.close()
    return here, process


def _end(processes: list[multiprocessing.Process]) -> None:
    """Stop processes: each writes its checkpoint, and is killed if that takes too long or Ctrl-C comes again."""
    for process in processes:
        process.terminate()
    try:
        latest = time.monotonic() + PATIENCE
        for process in processes:
            process.join(max(0.0, latest - time.monotonic()))
    finally:
        for process in processes:
            process.kill()
            process.join()


def _result(connection: Connection, process: multiprocessing.Process) -> bool | FglibError:
    try:
        outcome = connection.recv()
    except EOFError:
        outcome = None
    process.join()
    if outcome is None:
        return FglibError(
            f"its process ended with code {process.exitcode}; the reason, if it gave one, is printed above; out of "
            "memory is one, and fewer --jobs need less"
        )
    return outcome


def _work(there: Connection, plan: Plan, label: str, jobs: int, how: dict) -> None:
    """What a process of its own does: one run, stopped by SIGTERM as by Ctrl-C, and with its parent."""
    with suppress(KeyboardInterrupt):
        catch()
        threading.Thread(target=_end_with_parent, daemon=True).start()
        os.environ.update(LINES)
        sys.stderr = _Lines(sys.stderr)
        import torch

        torch.set_num_threads(max(1, torch.get_num_threads() // jobs))
        there.send(_outcome(plan, label, how))
    leave()


def _outcome(plan: Plan, label: str, how: dict) -> bool | FglibError:
    if how["refresh"] and not marked(plan):  # another process has refreshed it meanwhile
        return True
    try:
        return train_plan(plan, label=label, **how)
    except FglibError as e:
        return e


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGTERM)


def _past(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() > deadline


class _Lines(io.TextIOBase):
    """A stream on which what a progress bar rewrites in place becomes lines."""

    def __init__(self, stream: io.TextIOBase) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        for line in re.split(r"[\r\n]+", text):
            if line.strip():
                self.stream.write(f"{line.rstrip()}\n")
        self.stream.flush()
        return len(text)
