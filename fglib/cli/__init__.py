"""The `fglib` command: doctor, data, train, verify, run, claims, book.

Exit codes: 0 done, 1 failed (one sentence says why), 2 the command itself is wrong.
"""

import json
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Annotated, TextIO

import typer
import typer.core

from fglib.errors import ConfigError, FglibError, RecordError, printable, shortened, unknown
from fglib.stops import catch, leave


@contextmanager
def _stoppable(advice: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as e:
        if isinstance(e.__context__, FglibError):  # such as a checkpoint that could not be written
            advice = e.__context__
        sentence = f"stopped by {str(e) or 'Ctrl-C'}; everything recorded so far is kept; {advice}"
        leave(f"fglib: {sentence}\n")
        raise FglibError(sentence) from None


class _Commands(typer.core.TyperGroup):
    """Commands that a signal ends in one sentence."""

    def invoke(self, ctx: typer.Context) -> object:
        with _stoppable("run the same command again"):
            return super().invoke(ctx)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Fine-grained image representations from coarse labels: train, measure and read the book.",
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:0.")]
DataDir = Annotated[str | None, typer.Option(help="Folder of the data sets; default $FGLIB_DATA or ~/.cache/fglib.")]


SHOWN = ("fine_r1", "fine_map", "fine_knn", "cos_map", "cond_map", "coarse_top1", "top1")  # metrics that `train` prints


def main() -> None:
    """Entry point: turns errors that a user can mend into one sentence and an exit code."""
    # read by CUDA when its first kernel starts; without it cuBLAS sums in any order
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    sys.stdout.reconfigure(errors="backslashreplace")  # a terminal of few characters is no reason to stop
    catch()
    try:
        app()
    except FglibError as e:
        print(f"fglib: {e}", file=sys.stderr)
        sys.exit(2 if isinstance(e, ConfigError) else 1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check the installation: versions, devices, data sets, records.

    Example: fglib doctor
    """
    from fglib.lab.doctor import examine

    findings = examine()
    if as_json:
        print(json.dumps(findings, indent=1))
    else:
        for f in findings:
            _say(f"{'ok  ' if f['ok'] else 'FAIL' if f['needed'] else '-   '}  {f['what']}: {f['found']}")
    if any(f["needed"] and not f["ok"] for f in findings):
        raise FglibError("the installation is not whole: see the lines marked FAIL")


@app.command()
def data(
    name: Annotated[str | None, typer.Argument(help="A data set; all of them when left out.")] = None,
    download: Annotated[bool, typer.Option(help="Fetch the set, where its home allows it.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """List the data sets: where each is looked for, whether it is there, how to get it.

    Example: fglib data cifar100 --download
    """
    from fglib.data.sources import SOURCES, find_root, load, status
    from fglib.errors import unknown

    if name is not None and name not in SOURCES:
        raise unknown("data set", name, SOURCES)
    if download:
        if name is None:
            raise ConfigError("--download needs the name of one data set, as in `fglib data cifar100 --download`")
        load(name, root=data_dir, download=True)
    rows = []
    for each in [name] if name else SOURCES:
        found, where, how = status(each, data_dir)
        rows.append({"name": each, "found": found, "where": str(where) if where else None, "how": how})
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    _say(f"data sets are looked for in {find_root(data_dir)}")
    for row in rows:
        state, detail = ("found", row["where"] or "made in memory") if row["found"] else ("missing", row["how"])
        _say(f"{state:<8} {row['name']:<15} {detail}")


@app.command()
def train(
    experiment: Annotated[str | None, typer.Argument(help="An experiment of the book, or a YAML file.")] = None,
    preset: Annotated[str, typer.Option(help="smoke, cpu or paper.")] = "cpu",
    seeds: Annotated[str | None, typer.Option(help="Comma-separated seeds; default: the preset's.")] = None,
    variants: Annotated[str | None, typer.Option(help="Comma-separated variants; default: all.")] = None,
    device: Device = "auto",
    data_dir: DataDir = None,
    max_minutes: Annotated[
        float | None, typer.Option(help="Stop cleanly after so long; the next call goes on.")
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="Runs at a time, each in a process of its own; they share the device.")
    ] = 1,
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

    A run that another process is training is left to that one, and shown as busy; the exit code is then 1. Out of
    time is no failure: the exit code is 0.

    Example: fglib train omniglot --preset cpu --seeds 0,1,2 --max-minutes 30
             fglib train --pending --preset paper --max-minutes 60 --jobs 3
    """
    from fglib import lab
    from fglib.lab.grid import load_experiment
    from fglib.lab.places import experiment_files, tweaks
    from fglib.lab.refresh import marked
    from fglib.lab.standing import changes as changes_since
    from fglib.lab.workers import train_all

    if list_all:
        for path in experiment_files():
            e = load_experiment(path)
            _say(f"{e.name:<16} {e.title}  [{', '.join(e.variants)}]")
        return
    if (experiment is None) != all_pending:
        raise ConfigError(
            "name an experiment, as in `fglib train omniglot`, or ask for --pending, which takes those of the book; "
            "`fglib train --list` names them all"
        )
    started = time.monotonic()
    if max_minutes is not None and not 0 <= max_minutes < math.inf:
        raise ConfigError(f"--max-minutes must be a number of minutes, 0 or more, got {max_minutes}")
    deadline = None if max_minutes is None else started + 60 * max_minutes
    if all_pending:
        if seeds is not None or variants is not None or changes or refresh:
            raise ConfigError("--pending cannot be combined with --seeds, --variants, --set or --refresh")
        wanted = _pending(preset, data_dir)
    else:
        wanted = lab.plans(
            experiment,
            preset,
            None if seeds is None else _integers(seeds),
            None if variants is None else variants.split(","),
            _overrides(changes or []),
            tweak=refresh and not replace,
        )
    if replace and not refresh:
        raise ConfigError("--replace goes with --refresh: it says where the new records go")

    def name(plan: lab.Plan) -> str:
        return f"{plan.experiment.name}/{plan.name}" if all_pending else plan.name

    failed, busy = 0, set()
    if not dry_run:
        left = sum(map(marked, wanted)) if refresh else 0
        if 0 < left < len(wanted):
            _say(f"--refresh goes on with {left} of {len(wanted)} runs, which an earlier one left", file=sys.stderr)
        how = {"device": device, "data_dir": data_dir, "refresh": refresh, "deadline": deadline}
        with _stoppable("the same command goes on where this one stopped"):
            for plan, outcome in train_all(wanted, jobs, **how):
                if isinstance(outcome, lab.BusyError):
                    busy.add(plan.folder)
                elif isinstance(outcome, FglibError):
                    if jobs == 1 and not all_pending:
                        raise outcome
                    failed += 1
                unfinished = "out of time, checkpointed: run the same command to go on"
                state = {True: "recorded", False: unfinished}.get(outcome, outcome)
                _say(f"{name(plan)}: {state}", file=sys.stderr)
    found = {plan.folder: plan.load() for plan in wanted if plan.recorded}
    if not refresh:  # that one has recorded it meanwhile
        busy -= found.keys()
    other = {run.plan.folder: what for run, what in changes_since(list(found.values()), data_dir)}
    rows = [
        {
            "run": name(plan),
            "recorded": plan.folder in found,
            "busy": plan.folder in busy,
            "changed": other.get(plan.folder),
            "metrics": found[plan.folder].metrics if plan.folder in found else None,
        }
        for plan in wanted
    ]
    if as_json:
        print(json.dumps(rows, indent=1))
    for row in () if as_json else rows:
        shown = {k: v for k, v in (row["metrics"] or {}).items() if k in SHOWN}
        text = "  ".join(f"{k} {v:.2f}" for k, v in shown.items() if v is not None)
        state = next((word for word in ("busy", "changed", "recorded") if row[word]), "missing")
        _say(f"{state:<8}  {row['run']}  {text}".rstrip())
    if wanted and tweaks() in wanted[0].folder.parents:
        _say(f"kept apart from the book's own records, in {wanted[0].folder.parent}", file=sys.stderr)
    if failed:
        raise FglibError(f"{failed} of the runs failed for the reasons given above; the others went on")
    if busy:
        raise FglibError(
            f"{len(busy)} of {len(wanted)} runs were left to another process, which is training them; run the same "
            "command once more when it has ended"
        )
    under_way = {name(plan) for plan in wanted if refresh and marked(plan)}
    old = [f"{row['run']}: {row['changed']}" for row in rows if row["changed"] and row["run"] not in under_way]
    if old:
        more = f" ({len(old)} such records)" if len(old) > 1 else ""
        raise RecordError(
            f"{old[0]}{more}; train again with --refresh, or where code has changed compare with `fglib verify`"
        )


@app.command()
def verify(
    experiment: Annotated[
        str | None, typer.Argument(help="An experiment of the book, or a YAML file; all of the book when left out.")
    ] = None,
    preset: Annotated[str, typer.Option(help="smoke, cpu or paper.")] = "cpu",
    seeds: Annotated[str | None, typer.Option(help="Comma-separated seeds; default: the preset's.")] = None,
    variants: Annotated[str | None, typer.Option(help="Comma-separated variants; default: all.")] = None,
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

    names = [experiment] if experiment else [p.stem for p in experiment_files() if preset in load_experiment(p).presets]
    chosen = (_integers(seeds) if seeds else None, variants.split(",") if variants else None)
    wanted = [plan for name in names for plan in lab.plans(name, preset, *chosen) if plan.recorded]
    counts = Counter()
    with _stoppable("the same command goes on with the records that are left"):
        for i, plan in enumerate(wanted, start=1):
            run = f"{plan.experiment.name}/{plan.name}"
            how = {"device": device, "data_dir": data_dir, "tolerance": tolerance, "again": again}
            outcome = check(plan, label=f"[{i}/{len(wanted)}] {run}", **how)
            word = {True: "agrees", False: "DIFFERS", None: "not compared"}[outcome.agrees]
            counts[word] += 1
            _say(f"{word:<12}  {run}  {outcome.reason}")
    _say(f"records: {', '.join(f'{word} {n}' for word, n in counts.items()) or 'none to compare'}")
    if counts["DIFFERS"]:
        raise RecordError(
            f"{counts['DIFFERS']} of {len(wanted)} records differ from what the code gives now; --refresh trains again"
        )


@app.command()
def tune(
    experiment: Annotated[str, typer.Argument(help="An experiment with a section `tune`: a name or a YAML file.")],
    variants: Annotated[str | None, typer.Option(help="Comma-separated variants; default: all.")] = None,
    device: Device = "auto",
    data_dir: DataDir = None,
    max_minutes: Annotated[
        float | None, typer.Option(help="Stop cleanly after so long; the next call goes on.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time, each in a process of its own.")] = 1,
) -> None:
    """Choose hyper-parameters by a validation part of the training images, without test images and hidden labels.

    Every variant gets the same number of trials, which the experiment lists under `tune`. What was tried and chosen is
    recorded in tune.json beside the experiment's records; write the chosen values into the experiment before it is run.

    Example: fglib tune cifar100 --jobs 2
    """
    from fglib.lab.grid import load_experiment
    from fglib.lab.places import experiment_path
    from fglib.lab.tune import choices_path, score, trials, write_choice
    from fglib.lab.workers import train_all

    chosen = load_experiment(experiment_path(experiment))
    wanted = trials(chosen, None if variants is None else variants.split(","))
    deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes
    how = {"device": device, "data_dir": data_dir, "deadline": deadline}
    with _stoppable("the same command goes on where this one stopped"):
        for _, outcome in train_all([trial.plan for trial in wanted], jobs, **how):
            if isinstance(outcome, FglibError):
                raise outcome
    missing = {trial.variant for trial in wanted if not trial.plan.recorded}
    for trial in wanted:
        values = ", ".join(f"{key} {value}" for key, value in trial.values.items())
        by, value = score(trial.plan.load()) if trial.plan.recorded else ("missing", None)
        _say(f"{trial.variant:<16} {values:<50} {by}" + ("" if value is None else f" {value:.2f}"))
    for name, values in write_choice(chosen, [trial for trial in wanted if trial.variant not in missing]).items():
        _say(f"chosen  {name}: {', '.join(f'{key} {value}' for key, value in values.items())}")
    if missing:
        raise FglibError(f"trials of {', '.join(sorted(missing))} are missing; the same command goes on with them")
    _say(choices_path(chosen))


@app.command()
def run(
    chapter: Annotated[str, typer.Argument(help="A chapter's name or number, or a notebook's path.")],
    preset: Annotated[str | None, typer.Option(help="recorded, smoke, cpu or paper; default: the chapter's.")] = None,
    parameters: Annotated[list[str] | None, typer.Option("-p", help="A parameter, as in -p seeds=[0,1].")] = None,
    output: Annotated[Path | None, typer.Option("-o", help="Where the executed notebook goes.")] = None,
) -> None:
    """Execute a chapter through papermill.

    Example: fglib run 11_coarse_to_fine --preset cpu -p seeds=[0,1]
    """
    from fglib.pages.notebooks import execute

    with _stoppable("the same command starts the chapter again"):
        chosen = {} if preset is None else {"preset": preset}
        path = execute(chapter, chosen | _assignments(parameters or []), output)
    _say(path)


@app.command()
def claims(
    paper: Annotated[
        str | None, typer.Argument(help="patterns, grafit, coarse2fine or subtle; all when left out.")
    ] = None,
    readme: Annotated[bool, typer.Option(help="Write the results table into README.md.")] = False,
    as_json: Json = False,
) -> None:
    """Print the ledger: every claim of the papers with its computed verdict.

    Example: fglib claims patterns
    """
    from fglib.pages.claims import ledger, update_readme

    verdicts = ledger(paper)
    if readme:
        _say(update_readme())
    elif as_json:
        print(json.dumps([v.to_dict() for v in verdicts], indent=1))
    else:
        for v in verdicts:
            _say(f"{v.verdict:<20} {v.id}")
            _say(f"{'':<20} {v.reason}")


@app.command()
def book(
    serve: Annotated[bool, typer.Option(help="Also serve the pages on http://localhost.")] = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of --serve.")] = 8000,
) -> None:
    """Train the quickstart where it has no record, execute every chapter and render the book to _build/html.

    Example: fglib book --serve --port 8000
    """
    from fglib.pages.notebooks import build_book, page_server

    # the port is taken before the build: one in use shows at once
    with _stoppable("`fglib book` starts the build again"), page_server(port) if serve else nullcontext() as server:
        _say(f"The book: {build_book()}")
        if server:
            _say(f"Serving on http://localhost:{port}, Ctrl-C ends it")
            with suppress(KeyboardInterrupt):
                server.serve_forever()


def _say(line: object, file: TextIO | None = None) -> None:
    """Print a line that may hold names of files or texts of users."""
    print(printable(line), file=file, flush=True)


def _pending(preset: str, data_dir: str | None) -> list:
    """Plans of a preset without a record whose data sets are there; says which sets the others wait for."""
    from fglib.lab.grid import PRESETS
    from fglib.lab.pending import lacking, pending

    if preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    ready, waiting = [], Counter()
    for plan in pending(preset):
        missing = lacking(plan, data_dir)
        waiting.update(missing)
        if not missing:
            ready.append(plan)
    for name, count in waiting.items():
        _say(f"{count} runs wait for data set '{name}'; `fglib data {name}` says how to get it", file=sys.stderr)
    return ready


def _integers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(
            f"--seeds must be whole numbers with commas between, as in 0,1,2, got {shortened(text)}"
        ) from None


def _assignments(items: list[str]) -> dict:
    """name=value pairs, values read as YAML; ConfigError for a name that is empty or given twice."""
    from fglib.documents import parse_yaml

    out = {}
    for item in items:
        name, sep, value = item.partition("=")
        if not (sep and all(name.split("."))):
            raise ConfigError(f"{shortened(item)} is not of the form name=value")
        if name in out:
            raise ConfigError(f"'{name}' is set twice, the second time in {shortened(item)}; set it once")
        out[name] = parse_yaml(value, f"the value in {shortened(item)}")
    return out


def _overrides(items: list[str]) -> dict:
    """Pairs such as section.key=value, of any depth, as nested mappings; ConfigError for a key within another one."""
    out: dict = {}
    given = _assignments(items)
    for name, value in given.items():
        *sections, key = name.split(".")
        inner = out
        for depth, section in enumerate(sections, start=1):
            around = ".".join(sections[:depth])
            if around in given:
                raise ConfigError(f"--set gives both '{around}' and '{name}', which is inside of it; give one of them")
            inner = inner.setdefault(section, {})
        inner[key] = value
    return out
