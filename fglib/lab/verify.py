"""Whether records still answer for the data and the code of today: by fingerprints, or by the losses of an epoch."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from fglib.errors import DataError, RecordError
from fglib.lab.plan import Plan
from fglib.lab.records import CHANGED, CURRENT, Run, revision, write_json

OTHER_DATA = "its images or labels have changed since it was recorded"
TOLERANCE = 1e-3  # relative; another processor adds in another order, and training amplifies the last digits
APART = ("epoch", "lr", "train_error", "test_error")  # of a line of the history: no losses, or measured beside them


@dataclass(frozen=True)
class Check:
    """What came out for a record. `agrees` is None where it could not be compared, for the reason that is given."""

    plan: Plan
    agrees: bool | None
    reason: str


def verify(
    plan: Plan, *, data_dir: str | None = None, tolerance: float = TOLERANCE, again: bool = False, **how
) -> Check:
    """Compare a record with the first epoch of its training as it is now; where they agree, the record gets today's
    fingerprints and the date of the check. Numbers, history and provenance of the record stay as they are.

    A record whose fingerprints are today's is not trained, unless `again`. Losses agree that differ by less than
    `tolerance`, relative to the larger one. `how` is what `fglib.lab.run.first_epoch` takes.
    """
    from fglib.lab.run import data_state, first_epoch

    run = plan.load()
    try:
        state = data_state(plan.config.data, data_dir)
        recorded = run.fingerprints.get("data")
        if recorded is not None and "-" in recorded and recorded != state:  # a dash: images that are stored in files
            return Check(plan, False, f"{OTHER_DATA}; train it again")
        if not again and recorded == state and run.standing == CURRENT:
            return Check(plan, True, "its fingerprints are today's")
        now = first_epoch(plan, data_dir=data_dir, **how)
    except (DataError, RecordError) as e:
        return Check(plan, None, str(e))
    if not run.history:
        return Check(plan, None, "it has no history to compare with")
    reason, agrees = compare(run.history[0], now, tolerance)
    if agrees:
        path = plan.folder / "run.json"
        check = {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "revision": revision(), "result": reason}
        today = {"fingerprints": {"data": state, "code": plan.code}, "verified": check}
        write_json(path, json.loads(path.read_bytes()) | today)
    return Check(plan, agrees, reason)


def compare(recorded: dict, now: dict, tolerance: float) -> tuple[str, bool]:
    """What the losses of two lines of a history say to each other, and whether they agree."""
    names = [name for name in recorded if name not in APART]
    if names != [name for name in now if name not in APART]:
        return f"its losses were {', '.join(names)} and are now {', '.join(n for n in now if n not in APART)}", False
    far = max(abs(recorded[n] - now[n]) / (max(abs(recorded[n]), abs(now[n])) or 1.0) for n in names)
    worst = f"largest difference of a loss after one epoch {far:.1e}, tolerance {tolerance:.0e}"
    return worst, math.isfinite(far) and far <= tolerance


def changes(runs: Sequence[Run], data_dir: str | None = None) -> list[tuple[Run, str]]:
    """The runs that were made from other images, labels or code than today's, each with what has changed, in words.

    Data that cannot be read is not compared: records come without it. Nor is a record made before fingerprints were
    kept.
    """
    from fglib.lab.run import data_state

    today: dict[str, str | None] = {}
    found = []
    for run in runs:
        config, recorded = run.plan.config.data, run.fingerprints.get("data")
        if recorded is not None and repr(config) not in today:
            try:
                today[repr(config)] = data_state(config, data_dir)
            except DataError:
                today[repr(config)] = None
        now = today.get(repr(config))
        if None not in (now, recorded) and now != recorded:
            found.append((run, OTHER_DATA + _counts(recorded, now)))
        elif run.standing == CHANGED:
            found.append((run, "the code that trains it has changed since it was recorded"))
    return found


def refuse_other_data(runs: Sequence[Run], data_dir: str | None = None) -> None:
    """RecordError for the first run that was made from other images or labels than today's."""
    for run, what in changes(runs, data_dir):
        if what.startswith(OTHER_DATA):
            raise RecordError(f"{run.plan.name}: {what}; train it again with refresh, or bring the old data back")


def _counts(before: str, now: str) -> str:
    """The numbers of images then and now, where fingerprints have them and they differ."""
    (_, *then), (_, *there) = before.split("-"), now.split("-")
    if then == there or not then or not there:
        return ""
    return f" (then {then[0]} to train and {then[1]} to test, now {there[0]} and {there[1]})"
