"""What is still to be trained in a preset, over all experiments of the book, most valuable first."""

from dataclasses import dataclass
from pathlib import Path

from fglib.config import build
from fglib.data.sources import status
from fglib.documents import read_yaml
from fglib.errors import ConfigError
from fglib.lab.grid import find_experiment
from fglib.lab.places import book, experiment_files
from fglib.lab.plan import Plan, plans


@dataclass(frozen=True)
class Entry:
    """A line of the queue: an experiment, and some of its variants or seeds where not all are meant."""

    experiment: str
    variants: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None


def pending(preset: str, queue: Path | None = None) -> list[Plan]:
    """Runs of a preset without a record, in the order of the queue, each once.

    Raises ConfigError for a queue that names what does not exist.
    """
    queue = queue or book() / "queue.yml"
    lines = read_yaml(queue, "queue")
    if not isinstance(lines, list):
        raise ConfigError(f"the queue {queue} must be a list of entries such as {{experiment: omniglot}}")
    entries = [build(Entry, line, f"entry {i} of the queue {queue}") for i, line in enumerate(lines, start=1)]
    found: dict[Path, Plan] = {}
    for entry in [*entries, *(Entry(path.stem) for path in experiment_files())]:
        experiment = find_experiment(entry.experiment)
        variants = experiment.chosen(entry.variants)
        if preset in experiment.presets:
            for plan in plans(experiment, preset, entry.seeds, variants):
                if not plan.recorded:
                    found.setdefault(plan.folder, plan)
    return list(found.values())


def lacking(plan: Plan, data_dir: str | None = None) -> list[str]:
    """Names of the data sets that are not there for a run and for those it starts from; a folder of the user's own
    counts as not there."""
    names = [each.config.data.name for each in (plan, *plan.starts)]
    return [name for name in names if not status(name, data_dir)[0]]
