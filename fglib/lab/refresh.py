"""Training again what is recorded, over as many calls as it takes.

A refresh marks its runs, in a file beside each checkpoint. A later one finds the marks and goes on with these runs
alone; a mark goes away when its run is recorded. The old record stays until then.
"""

from collections.abc import Sequence
from pathlib import Path

from fglib.errors import FglibError
from fglib.lab.plan import Plan
from fglib.storage import write_atomically

WANTED, BEGUN = b"wanted\n", b"begun\n"


def marked(plan: Plan) -> bool:
    """Whether a refresh wants this run and has not recorded it yet."""
    return _mark(plan).is_file()


def to_train(wanted: Sequence[Plan]) -> list[Plan]:
    """What a refresh of these runs has to train, marked: what an earlier one left, or else all of them."""
    left = [plan for plan in wanted if marked(plan)]
    if left:
        return [plan for plan in wanted if plan in left or not plan.recorded]
    for plan in wanted:
        write_atomically(_mark(plan), WANTED)
    return list(wanted)


def begin(plan: Plan) -> None:
    """Remove the weights of a training that is finished or recorded; once, so that a refresh that was stopped goes on.

    For the one process that trains the run. What has no record yet goes on from its checkpoint.
    """
    mark = _mark(plan)
    if marked(plan) and mark.read_bytes() == BEGUN:
        return
    if plan.trained or (plan.folder / "run.json").is_file():
        discard(plan)
    write_atomically(mark, BEGUN)


def discard(plan: Plan) -> None:
    """Remove a checkpoint."""
    try:
        plan.checkpoint.unlink(missing_ok=True)
    except OSError as e:
        raise FglibError(f"cannot remove {plan.checkpoint}: {e.strerror or e}; remove it, then refresh again") from e


def end(plan: Plan) -> None:
    """The run is recorded: it is no longer to be trained again."""
    _mark(plan).unlink(missing_ok=True)


def _mark(plan: Plan) -> Path:
    return plan.checkpoint.with_name(f".{plan.checkpoint.name}.refresh")
