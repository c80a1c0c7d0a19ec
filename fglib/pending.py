"""What is still to be trained in a preset, over all experiments of the book, most valuable first."""

from collections.abc import Iterator
from pathlib import Path

import yaml

from fglib.data.sources import status
from fglib.experiments import load_experiment
from fglib.paths import BOOK, experiment_files, experiment_path
from fglib.runs import Plan, plans, start_of

QUEUE = BOOK / "queue.yml"


def pending(preset: str, queue: Path = QUEUE) -> list[Plan]:
    """Runs of a preset without a record, in the order of the queue, each once."""
    found: dict[Path, Plan] = {}
    for entry in [*yaml.safe_load(queue.read_text()), *({"experiment": path.stem} for path in experiment_files())]:
        experiment = load_experiment(experiment_path(entry["experiment"]))
        if preset in experiment.presets:
            for plan in plans(experiment, preset, entry.get("seeds"), entry.get("variants")):
                if not plan.recorded:
                    found.setdefault(plan.folder, plan)
    return list(found.values())


def sets_of(plan: Plan) -> Iterator[str]:
    """Names of the data sets that a run needs, with those of the run it starts from."""
    yield plan.config.data.name
    if plan.config.start is not None:
        yield from sets_of(start_of(plan.config))


def lacking(plan: Plan, data_dir: str | None = None) -> list[str]:
    """Names of the data sets of a run that are not there; a folder of the user's own counts as not there."""
    return [name for name in sets_of(plan) if not status(name, data_dir)[0]]
