"""Whether records still answer for the data and the code that there are today."""

from collections.abc import Sequence

from fglib.config import DataConfig
from fglib.errors import DataError, RecordError
from fglib.lab.records import CHANGED, Run

OTHER_DATA = "its images or labels have changed since it was recorded"


def changes(runs: Sequence[Run], data_dir: str | None = None) -> list[tuple[Run, str]]:
    """The runs that were made from other images, labels or code than today's, each with what has changed, in words.

    Data that cannot be read is not compared: records come without it. Nor is a record made before fingerprints were
    kept.
    """
    today: dict[str, str | None] = {}
    found = []
    for run in runs:
        config, recorded = run.plan.config.data, run.fingerprints.get("data")
        if recorded is not None:
            if repr(config) not in today:
                today[repr(config)] = _today(config, data_dir)
            now = today[repr(config)]
            if now not in (None, recorded):
                found.append((run, OTHER_DATA + _counts(recorded, now)))
                continue
        if run.standing == CHANGED:
            found.append((run, "the code that trains it has changed since it was recorded"))
    return found


def refuse_other_data(runs: Sequence[Run], data_dir: str | None = None) -> None:
    """RecordError for the first run that was made from other images or labels than today's."""
    for run, what in changes(runs, data_dir):
        if what.startswith(OTHER_DATA):
            raise RecordError(f"{run.plan.name}: {what}; train it again with refresh, or bring the old data back")


def _today(config: DataConfig, data_dir: str | None) -> str | None:
    from fglib.lab.run import data_state

    try:
        return data_state(config, data_dir)
    except DataError:
        return None


def _counts(before: str, now: str) -> str:
    """The numbers of images then and now, where fingerprints have them and they differ."""
    (_, *then), (_, *there) = before.split("-"), now.split("-")
    if then == there or not then or not there:
        return ""
    return f" (then {then[0]} to train and {then[1]} to test, now {there[0]} and {there[1]})"
