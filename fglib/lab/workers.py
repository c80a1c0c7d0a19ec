"""Many runs: one after another in this process, or several at a time that share a device, each a command of its own."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack

from fglib.errors import BusyError, FglibError, RecordError
from fglib.lab import refresh as again
from fglib.lab.lock import alone
from fglib.lab.plan import Plan, flat
from fglib.lab.records import write_record

PATIENCE = 60.0  # seconds for the step under way and the checkpoint of a run that is stopped
# tqdm's defaults, for runs that share a screen: no bar, and a line only so often (seconds)
LINES = {
    "TQDM_MININTERVAL": "30",
    "TQDM_MAXINTERVAL": "30",
    "TQDM_BAR_FORMAT": "{desc}: {percentage:.0f}% {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]",
}


def train_plan(plan: Plan, *, refresh: bool = False, **how) -> bool:
    """Train (or go on with) one run and record it; False if time ran out, with a checkpoint to go on from.

    `refresh` trains again what is recorded, and goes on with a refresh that was stopped; `how` is what
    `fglib.lab.run.train_one` takes. Raises BusyError when another process trains this run or one that it starts from.
    """
    from fglib.lab.run import train_one  # with torch, only here: listing, loading and help stay quick

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


def train_plans(wanted: Sequence[Plan], **how) -> Iterator[tuple[Plan, bool]]:
    """`train_all` where nothing may fail: yields (plan, finished) as each ends, and raises the first error."""
    for plan, outcome in train_all(wanted, **how):
        if isinstance(outcome, FglibError):
            raise outcome
        yield plan, outcome


def train_all(
    wanted: Sequence[Plan],
    jobs: int = 1,
    *,
    refresh: bool = False,
    deadline: float | None = None,
    device: str = "auto",
    data_dir: str | None = None,
) -> Iterator[tuple[Plan, bool | FglibError]]:
    """Train every plan without a record, or those of a refresh (`fglib.lab.refresh`), in order, `jobs` at a time.

    Yields (plan, outcome) as each ends: True for recorded, False for out of time and checkpointed, or its error,
    after which the others go on. `deadline` is a time of `time.monotonic()`; after it none is started.
    """
    todo = again.to_train(wanted) if refresh else [plan for plan in wanted if not plan.recorded]
    todo = [(plan, f"[{i}/{len(todo)}] " if len(todo) > 1 else "") for i, plan in enumerate(todo, start=1)]
    how = {"refresh": refresh, "deadline": deadline, "device": device, "data_dir": data_dir}
    return _in_turn(todo, how) if jobs == 1 else _side_by_side(todo, jobs, how)


def _in_turn(todo: list[tuple[Plan, str]], how: dict) -> Iterator[tuple[Plan, bool | FglibError]]:
    for plan, number in todo:
        try:
            label = f"{number}{plan.experiment.name} {plan.variant} seed {plan.seed}"
            # another process may have refreshed it meanwhile
            outcome = (how["refresh"] and not again.marked(plan)) or train_plan(plan, label=label, **how)
        except FglibError as e:
            outcome = e
        yield plan, outcome
        if outcome is False or _past(how["deadline"]):
            return


def _side_by_side(waiting: list[tuple[Plan, str]], jobs: int, how: dict) -> Iterator[tuple[Plan, bool | FglibError]]:
    running: dict[Future, tuple[Plan, subprocess.Popen]] = {}
    with ThreadPoolExecutor(jobs) as pool:
        try:
            while running or (waiting and not _past(how["deadline"])):
                if len(running) < jobs and not _past(how["deadline"]):
                    taken = {path for plan, _ in running.values() for path in plan.writes}
                    # a run waits while another one trains what it starts from
                    free = next((item for item in waiting if taken.isdisjoint(item[0].writes)), None)
                    if free is not None:
                        waiting.remove(free)
                        process = _start(free[0], jobs, how)
                        running[pool.submit(_follow, process, *free, how["refresh"])] = free[0], process
                        continue
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future)[0], future.result()
        finally:  # nothing runs any more, unless this was stopped
            _end([process for _, process in running.values()])


def _start(plan: Plan, jobs: int, how: dict) -> subprocess.Popen:
    """`fglib train` for one run, which ends when this process does: it watches its standard input."""
    import torch

    command = [sys.executable, "-m", "fglib", "train", str(plan.experiment.file), "--json", "--device", how["device"]]
    command += ["--preset", plan.preset, "--variants", plan.variant, "--seeds", str(plan.seed)]
    command += [f"--set={key}={json.dumps(value)}" for key, value in flat(plan.overrides)]
    command += ["--data-dir", str(how["data_dir"])] if how["data_dir"] else []
    command += ["--refresh", *([] if plan.tweak else ["--replace"])] if how["refresh"] else []
    command += [] if how["deadline"] is None else [f"--max-minutes={(how['deadline'] - time.monotonic()) / 60}"]
    threads = {"OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // jobs))}
    return subprocess.Popen(
        command,
        env=os.environ | LINES | threads | {"FGLIB_PARENT": "stdin", "PYTHONIOENCODING": "utf-8:backslashreplace"},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        process_group=0,  # Ctrl-C in a terminal reaches this process alone, which then ends the others
    )


def _follow(process: subprocess.Popen, plan: Plan, number: str, refresh: bool) -> bool | FglibError:
    """Hand on what a run says; its outcome when it has ended."""
    reason = ""
    with process:
        # piece by piece: a progress bar ends its line only when it has the next one
        for piece in iter(lambda: process.stderr.read1(1 << 16), b""):
            for line in filter(str.strip, re.split(r"[\r\n]", piece.decode("utf-8", "replace"))):
                if line.startswith("fglib: "):
                    reason = line.removeprefix("fglib: ").strip()
                else:
                    print(f"{number}{line.rstrip()}", file=sys.stderr, flush=True)
    code = process.returncode
    if code == 0:
        return not again.marked(plan) if refresh else plan.recorded
    if code == BusyError.exit_code:
        return BusyError(reason)
    return FglibError(
        reason
        or f"its process ended with code {code}; the reason, if it gave one, is printed above; out of memory is one, "
        "and fewer --jobs need less"
    )


def _end(processes: list[subprocess.Popen]) -> None:
    """Stop processes: each writes its checkpoint, and is killed if that takes too long or Ctrl-C comes again."""
    for process in processes:
        process.terminate()
    try:
        latest = time.monotonic() + PATIENCE
        for process in processes:
            process.wait(max(0.0, latest - time.monotonic()))
    except subprocess.TimeoutExpired:
        pass
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _past(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() > deadline
