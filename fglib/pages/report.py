"""What chapters print: tables, sources, verdicts and provenance, all read from records.

Every function returns an object that a notebook displays; none prints a number that is not in a record.
"""

import inspect
import os
from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown

from fglib.config import ModelConfig
from fglib.errors import check_known
from fglib.lab.grid import Experiment, find_experiment
from fglib.lab.places import book, root
from fglib.lab.plan import flat
from fglib.lab.records import Run, not_current
from fglib.lab.results import Results, values
from fglib.lab.tryout import TriedOut
from fglib.methods import METHODS
from fglib.pages import plots
from fglib.pages.benchmarks import benchmark as benchmark
from fglib.pages.html import render
from fglib.pages.labels import label as label
from fglib.pages.plots import interval


def metric_table(results: Results, metrics: Sequence[str], paper: dict[str, Sequence] | None = None) -> pd.DataFrame:
    """Variants by metrics, mean ± standard deviation over n seeds; `paper` adds the printed figures beside them.

    `paper` maps a variant to its values in the order of `metrics`, as `paper_values` in claims.yml does.
    """
    rows = {}
    for variant in results.variants:
        row = {"n": len(results.of(variant))}
        for i, metric in enumerate(metrics):
            row[label(metric)] = mean_and_spread(results.values(variant, metric))
            if paper:
                value = paper.get(variant, [None] * len(metrics))[i]
                row[f"{label(metric)}, paper"] = "–" if value is None else f"{value:.2f}"
        rows[label(variant) + changes(results.of(variant))] = row
    return pd.DataFrame.from_dict(rows, orient="index")


def tried_table(found: TriedOut, metrics: Sequence[str], digits: int = 1) -> pd.DataFrame:
    """What `lab.try_out` gave, beside the book's own class under the same conditions and the recorded runs.

    The last training loss is there to show that a change took effect, which few steps may not show in what is measured.
    """
    own, preset = label(found.variant), found.own[0].plan.preset
    name = found.method.__name__
    name += " (tried out)" if name == own else ""
    rows = {
        f"{own}, {preset}{changes(found.own)}": found.own,
        f"{name}, {preset}{changes(found.tried)}": found.tried,
        f"{own}, recorded ({found.recorded.preset})": found.recorded.of(found.variant),
    }
    table = {}
    for row, runs in rows.items():
        if runs:
            last = np.array([run.history[-1]["total"] for run in runs])
            table[row] = {"n": len(runs), "loss in the last epoch": mean_and_spread(last, 2)}
            table[row] |= {label(metric): mean_and_spread(values(runs, metric), digits) for metric in metrics}
    return pd.DataFrame.from_dict(table, orient="index")


def changes(runs: Sequence[Run]) -> str:
    """What overrides changed in some runs, in parentheses, to stand behind their name; empty where they did not."""
    changed = sorted({f"{k}={v}" for run in runs for k, v in flat(run.plan.overrides) if k != "measure"})
    return f" ({', '.join(changed)})" if changed else ""


def mean_and_spread(values: np.ndarray, digits: int = 1) -> str:
    """Mean ± sample standard deviation as text; a single value has no spread, none at all a dash."""
    if len(values) == 0:
        return "–"
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    # no-break spaces: a narrow column must not part a mean from its spread
    return f"{values.mean():.{digits}f}\u00a0±\u00a0{values.std(ddof=1):.{digits}f}"


def points(values: np.ndarray, digits: int = 1) -> str:
    """Mean and 95 % interval of differences as text; a single one has no interval, none at all a dash."""
    if len(values) == 0:
        return "–"
    mean, half = interval(values)
    low, high = (f"{end:+.{digits}f}" for end in (mean - half, mean + half))
    return f"{mean:+.{digits}f}" + (f" [{low},\u00a0{high}]" if len(values) > 1 else "")


def provenance(results: Results) -> Markdown:
    """Which preset is shown, how many runs, on what, when and at which revision; or the command that would run it."""
    if not results:
        return not_run(results)
    runs = [r.provenance for r in results.runs]
    seen = {key: sorted({str(p[key]) for p in runs}) for key in ("device", "processor", "date", "revision")}
    seconds = np.array([p["seconds"] for p in runs])
    device = ", ".join(d if d != "cpu" else " / ".join(seen["processor"]) for d in seen["device"])
    text = (
        f"**Provenance.** Experiment `{results.experiment.name}`, preset `{results.preset}`{changes(results.runs)}, "
        f"{len(runs)} runs, seeds "
        f"{', '.join(str(s) for s in sorted({r.plan.seed for r in results.runs}))}; trained on {device} in "
        f"{seconds.mean():.0f} s each on average ({seconds.sum() / 60:.0f} min in all), {', '.join(seen['date'])}, "
        f"revision {', '.join(seen['revision'])}, torch {runs[0]['versions']['torch']}."
    )
    if old := not_current(results.runs):
        text += f" **{old}**; `fglib verify {results.experiment.name}` compares them with today's code."
    if results.missing:
        text += f" {len(results.missing)} runs are missing: `{results.command}`."
    return Markdown(text)


def not_run(results: Results) -> Markdown:
    """The notice that stands where a result would: what is missing, the commands and the hardware."""
    if results:
        return Markdown(f"> **Not complete.** Runs that belong here have no records yet: `{results.command}`.")
    ways = "; ".join(
        f"`fglib train {results.experiment.name} --preset {name}` takes {preset.hardware}"
        for name, preset in results.experiment.presets.items()
        if name != "smoke"
    )
    return Markdown(f"> **Not run.** No record of `{results.experiment.name}` yet. {ways}.")


def experiment_summary(experiment: Results | Experiment | str, preset: str | None = None) -> pd.DataFrame:
    """What an experiment trains, read from its file: the settings of a preset, one row each."""
    if isinstance(experiment, Results):
        experiment, preset = experiment.experiment, preset or experiment.preset
    experiment = find_experiment(experiment)
    preset = preset or next(iter(experiment.presets))
    config = experiment.resolve(next(iter(experiment.variants)), preset)
    t, m, a = config.train, config.model, config.augment
    rows = {
        "data": f"{config.data.name}: trained on {config.data.coarse}, tested on {config.data.fine}",
        "methods": ", ".join(label(v) for v in experiment.variants),
        "network": _network(m),
        "schedule": f"{t.epochs} epochs, batch {t.batch_size}, learning rate {t.lr} ({t.schedule}), "
        f"momentum {t.momentum}, weight decay {t.weight_decay}",
        "augmentation": ", ".join(f"{k} {v}" for k, v in vars(a).items() if v and k != "views" and v != (1.0, 1.0))
        or "none",
        "preset": f"{preset}: {experiment.preset(preset).hardware}",
    }
    if not METHODS[config.method.name].builds_trunk:
        del rows["network"]
    return pd.DataFrame({"setting": rows})


def _network(model: ModelConfig) -> str:
    """A trunk in words."""
    if model.backbone == "small_resnet":
        return f"small ResNet, width {model.width}, blocks {model.blocks}"
    if model.backbone == "whitened":
        return f"small network of width {model.width} behind a whitening layer, from scratch"
    return f"{model.backbone}, stem {model.stem}, weights {model.weights or 'from scratch'}"


def gallery(results: Results, variants: Sequence[str], most: int | None = None, part: int = -1) -> Markdown | None:
    """Draw what the first seed of each variant retrieves, at most so many pictures, or say that there is no record.

    part: of the names of classes, as in Greek/character01, which stands beside a query.
    """
    found = {variant: results.of(variant)[0].arrays for variant in variants if results.of(variant)}
    if not found:
        return not_run(results)
    shown = {v: (a["gallery_neighbours"][:, :most], a["gallery_correct"][:, :most]) for v, a in found.items()}
    first = next(iter(found.values()))
    plots.gallery(first["gallery_queries"], shown, [str(name).split("/")[part] for name in first["gallery_names"]])
    plt.show()
    return None


def source(*functions: Callable) -> Markdown:
    """The library's own source, so that the page never shows a copy, and links to the files."""
    files = dict.fromkeys(inspect.getsourcefile(inspect.unwrap(function)) for function in functions)
    links = ", ".join(f"[{os.path.relpath(file, root())}]({os.path.relpath(file, book())})" for file in files)
    code = "\n\n".join(inspect.getsource(function).rstrip() for function in functions)
    return Markdown(f"```python\n{code}\n```\n\nFrom {links}.")


def verdicts(*ids: str) -> HTML:
    """The ledger's lines for some claims: what the paper says, the computed verdict, the figures behind it."""
    from fglib.pages.claims import judge, load_claims

    claims = {claim.id: claim for claim in load_claims()}
    for name in ids:
        check_known("claim", name, claims)
    return HTML(render("verdicts", verdicts=[judge(claims[i]) for i in ids]))


def sliders(name: str, controls: Sequence[tuple], picture: str = "", reading: str = "", **data) -> HTML:
    """Sliders beside a picture (SVG) and above a reading; the function of that name in _static/sliders.js moves both.

    A control is (label, lowest, highest, step, start). What the function needs besides goes in as `data`.
    """
    return HTML(render("sliders", name=name, controls=controls, picture=picture, reading=reading, data=data))
