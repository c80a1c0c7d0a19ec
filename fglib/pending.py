"""What is still to be trained in a preset, over all experiments of the book, most valuable first."""

from pathlib import Path

from fglib.data.sources import status
from fglib.documents import read_yaml
from fglib.experiments import load_experiment
from fglib.paths import BOOK, experiment_files, experiment_path
from fglib.runs import Plan, plans

QUEUE = BOOK / "queue.yml"


def pending(preset: str, queue: Path | None = None) -> list[Plan]:
    """Runs of a preset without a record, in the order of the queue, each once."""
    found: dict[Path, Plan] = {}
    first = read_yaml(queue or QUEUE, "queue")
    for entry in [*first, *({"experiment": path.stem} for path in experiment_files())]:
        experiment = load_experiment(experiment_path(entry["experiment"]))
        if preset in experiment.presets:
            for plan in plans(experiment, preset, entry.get("seeds"), entry.get("variants")):
                if not plan.recorded:
                    found.setdefault(plan.folder, plan)
    return list(found.values())


def lacking(plan: Plan, data_dir: str | None = None) -> list[str]:
    """Names of the data sets that are not there for a run and for those it starts from; a folder of the user's own
    counts as not there."""
    names = [each.config.data.name for each in (plan, *plan.starts)]
    return [name for name in names if not status(name, data_dir)[0]]
