"""`fglib train`, `fglib verify` and `fglib tune`: what makes and checks run records."""

import json
import sys
from collections import Counter
from typing import Annotated

import typer

from fglib.cli.shared import (
    DataDir,
    Device,
    Jobs,
    Json,
    MaxMinutes,
    Preset,
    Seeds,
    Variants,
    app,
    deadline,
    integers,
    names,
    overrides,
    say,
    stoppable,
)
from fglib.errors import BusyError, ConfigError, FglibError, RecordError, check_known

SHOWN = ("fine_r1", "fine_map", "fine_knn", "cos_map", "cond_map", "coarse_top1", "top1")  # metrics that are printed
GO_ON = "the same command goes on where this one stopped"


@app.command()
def train(
    experiment: Annotated[str | None, typer.Argument(help="An experiment of the book, or a YAML file.")] = None,
    preset: Preset = "cpu",
    seeds: Seeds = None,
    variants: Variants = None,
    device: Device = "auto",
    data_dir: DataDir = None,
    max_minutes: MaxMinutes = None,
    jobs: Jobs = 1,
    refresh: Annotated[
        bool,
        typer.Option(
            help="Train again what is already recorded. Stopped by --max-minutes or Ctrl-C, it goes on with the next "
            "--refresh, where it stopped. The book's own records stay as they are, and the new ones lie in "
            "_build/tweaks; others stay until the new ones replace them."
        ),
    ] = False,
    replace: Annotated[bool, typer.Option(help="With --refresh: replace the book's own records too.")] = False,
    changes: Annotated[list[str] | None, typer.Option("--set", help="Override a key, as in train.epochs=5.")] = None,
    dry_run: Annotated[bool, typer.Option(help="Only say what would be trained.")] = False,
    list_all: Annotated[bool, typer.Option("--list", help="List the experiments.")] = False,
    all_pending: Annotated[
        bool, typer.Option("--pending", help="All runs of the book without a record, most valuable first.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train what an experiment lacks and record it.

    A run that another process is training is left to that one, and shown as busy; the exit code is then 3. Out of
    time is no failure: the exit code is 0.

    Example: fglib train omniglot --preset cpu --seeds 0,1,2 --max-minutes 30
             fglib train --pending --preset paper --max-minutes 60 --jobs 3
    """
    from fglib.lab.plan import Plan, plans
    from fglib.lab.refresh import marked
    from fglib.lab.verify import changes as changes_since

    if list_all:
        _list_experiments()
        return
    if (experiment is None) != all_pending:
        raise ConfigError(
            "name an experiment, as in `fglib train omniglot`, or ask for --pending, which takes those of the book; "
            "`fglib train --list` names them all"
        )
    until = deadline(max_minutes)
    if replace and not refresh:
        raise ConfigError("--replace goes with --refresh: it says where the new records go")
    if all_pending:
        if seeds is not None or variants is not None or changes or refresh:
            raise ConfigError("--pending cannot be combined with --seeds, --variants, --set or --refresh")
        wanted = _pending(preset, data_dir)
    else:
        chosen = integers(seeds), names(variants), overrides(changes)
        wanted = plans(experiment, preset, *chosen, tweak=refresh and not replace)

    how = {"refresh": refresh, "deadline": until, "device": device, "data_dir": data_dir}
    failed, busy = (0, set()) if dry_run else _train(wanted, jobs, all_pending, **how)
    found = {run.plan.folder: run for run in map(Plan.find, wanted) if run}
    if not refresh:  # that one has recorded it meanwhile
        busy -= found.keys()
    other = {run.plan.folder: what for run, what in changes_since(list(found.values()), data_dir)}
    rows = [
        {
            "run": _name(plan, all_pending),
            "recorded": plan.folder in found,
            "busy": plan.folder in busy,
            "changed": other.get(plan.folder),
            "metrics": found[plan.folder].metrics if plan.folder in found else None,
        }
        for plan in wanted
    ]
    _show(rows, as_json)
    if wanted and wanted[0].apart and not (as_json and len(wanted) == 1):  # which a run side by side has been told
        say(f"kept apart from the book's own records, in {wanted[0].folder.parent}", file=sys.stderr)
    if failed:
        raise FglibError(f"{failed} of the runs failed for the reasons given above; the others went on")
    if busy:
        raise BusyError(
            f"{len(busy)} of {len(wanted)} runs were left to another process, which is training them; run the same "
            "command once more when it has ended"
        )
    under_way = {_name(plan, all_pending) for plan in wanted if refresh and marked(plan)}
    old = [f"{row['run']}: {row['changed']}" for row in rows if row["changed"] and row["run"] not in under_way]
    if old:
        more = f" ({len(old)} such records)" if len(old) > 1 else ""
        raise RecordError(
            f"{old[0]}{more}; train again with --refresh, or where code has changed compare with `fglib verify`"
        )


def _train(wanted: list, jobs: int, all_pending: bool, refresh: bool, **how) -> tuple[int, set]:
    """Train runs and say how each ended; how many failed, and the folders of those that another process trains."""
    from fglib.lab.refresh import marked
    from fglib.lab.workers import train_all

    left = sum(map(marked, wanted)) if refresh else 0
    if 0 < left < len(wanted):
        say(f"--refresh goes on with {left} of {len(wanted)} runs, which an earlier one left", file=sys.stderr)
    failed, busy = 0, set()
    with stoppable(GO_ON):
        for plan, outcome in train_all(wanted, jobs, refresh=refresh, **how):
            if isinstance(outcome, BusyError):
                busy.add(plan.folder)
            elif isinstance(outcome, FglibError):
                if jobs == 1 and not all_pending:
                    raise outcome
                failed += 1
            unfinished = "out of time, checkpointed: run the same command to go on"
            state = {True: "recorded", False: unfinished}.get(outcome, outcome)
            if len(wanted) > 1 or outcome is not True:
                say(f"{_name(plan, all_pending)}: {state}", file=sys.stderr)
    return failed, busy


def _show(rows: list[dict], as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        shown = {k: v for k, v in (row["metrics"] or {}).items() if k in SHOWN}
        text = "  ".join(f"{k} {v:.2f}" for k, v in shown.items() if v is not None)
        state = next((word for word in ("busy", "changed", "recorded") if row[word]), "missing")
        say(f"{state:<8}  {row['run']}  {text}".rstrip())


def _name(plan, with_experiment: bool) -> str:
    return f"{plan.experiment.name}/{plan.name}" if with_experiment else plan.name


def _list_experiments() -> None:
    from fglib.lab.grid import load_experiment
    from fglib.lab.places import experiment_files

    for path in experiment_files():
        e = load_experiment(path)
        say(f"{e.name:<16} {e.title}  [{', '.join(e.variants)}]")


def _pending(preset: str, data_dir: str | None) -> list:
    """Plans of a preset without a record whose data sets are there; says which sets the others wait for."""
    from fglib.lab.grid import PRESETS
    from fglib.lab.pending import lacking, pending

    check_known("preset", preset, PRESETS)
    ready, waiting = [], Counter()
    for plan in pending(preset):
        missing = lacking(plan, data_dir)
        waiting.update(missing)
        if not missing:
            ready.append(plan)
    for name, count in waiting.items():
        say(f"{count} runs wait for data set '{name}'; `fglib data {name}` says how to get it", file=sys.stderr)
    return ready


@app.command()
def verify(
    experiment: Annotated[
        str | None, typer.Argument(help="An experiment of the book, or a YAML file; all of the book when left out.")
    ] = None,
    preset: Preset = "cpu",
    seeds: Seeds = None,
    variants: Variants = None,
    device: Device = "auto",
    data_dir: DataDir = None,
    tolerance: Annotated[float, typer.Option(help="Relative difference of a loss that still agrees.")] = 1e-3,
    again: Annotated[bool, typer.Option(help="Also compare records whose fingerprints are today's.")] = False,
) -> None:
    """Does today's code still give the recorded numbers? Trains the first epoch of every record again and compares.

    A record that agrees gets today's fingerprints of data and code and the date of the check; its numbers stay.

    Example: fglib verify omniglot --seeds 0
    """
    from fglib import lab
    from fglib.lab.grid import load_experiment
    from fglib.lab.places import experiment_files
    from fglib.lab.verify import verify as check

    files = [experiment] if experiment else [p.stem for p in experiment_files() if preset in load_experiment(p).presets]
    chosen = integers(seeds), names(variants)
    wanted = [plan for name in files for plan in lab.plans(name, preset, *chosen) if plan.recorded]
    counts = Counter()
    with stoppable("the same command goes on with the records that are left"):
        for i, plan in enumerate(wanted, start=1):
            run = _name(plan, with_experiment=True)
            how = {"device": device, "data_dir": data_dir, "tolerance": tolerance, "again": again}
            outcome = check(plan, label=f"[{i}/{len(wanted)}] {run}", **how)
            word = {True: "agrees", False: "DIFFERS", None: "not compared"}[outcome.agrees]
            counts[word] += 1
            say(f"{word:<12}  {run}  {outcome.reason}")
    say(f"records: {', '.join(f'{word} {n}' for word, n in counts.items()) or 'none to compare'}")
    if counts["DIFFERS"]:
        raise RecordError(
            f"{counts['DIFFERS']} of {len(wanted)} records differ from what the code gives now; --refresh trains again"
        )


@app.command()
def tune(
    experiment: Annotated[str, typer.Argument(help="An experiment with a section `tune`: a name or a YAML file.")],
    variants: Variants = None,
    device: Device = "auto",
    data_dir: DataDir = None,
    max_minutes: MaxMinutes = None,
    jobs: Jobs = 1,
) -> None:
    """Choose hyper-parameters by a validation part of the training images, without test images and hidden labels.

    Every variant gets the same number of trials, which the experiment lists under `tune`. What was tried and chosen is
    recorded in tune.json beside the experiment's records; write the chosen values into the experiment before it is run.

    Example: fglib tune cifar100 --jobs 2
    """
    from fglib.lab.grid import find_experiment
    from fglib.lab.tune import choices_path, score, trials, write_choice
    from fglib.lab.workers import train_plans

    chosen = find_experiment(experiment)
    wanted = trials(chosen, names(variants))
    how = {"device": device, "data_dir": data_dir, "deadline": deadline(max_minutes)}
    with stoppable(GO_ON):
        for _ in train_plans([trial.plan for trial in wanted], jobs=jobs, **how):
            pass
    missing = {trial.variant for trial in wanted if not trial.plan.recorded}
    for trial in wanted:
        found = "{} {:.2f}".format(*score(trial.plan.load())) if trial.plan.recorded else "missing"
        say(f"{trial.variant:<16} {_settings(trial.values):<50} {found}")
    for name, values in write_choice(chosen, [trial for trial in wanted if trial.variant not in missing]).items():
        say(f"chosen  {name}: {_settings(values)}")
    if missing:
        raise FglibError(f"trials of {', '.join(sorted(missing))} are missing; the same command goes on with them")
    say(choices_path(chosen))


def _settings(values: dict) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())
