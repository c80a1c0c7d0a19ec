"""The laboratory: from an experiment's YAML to run records. It knows no page.

grid        an experiment: variants and presets, read from YAML
plans       the runs that it names, where each lies and what it starts from
run         one run: data, method, training, measures
records     `run.json` and `arrays.npz`: written, read and checked
workers     many runs, one after another or side by side
results     what is recorded, loaded; what is missing, trained
refresh     training again what is recorded
verify      do data and code of today still give the recorded numbers?
tune        choosing hyper-parameters by a validation part
"""

from fglib.errors import BusyError
from fglib.lab.plan import Plan, plans
from fglib.lab.records import Run
from fglib.lab.results import Results, ensure, recorded
from fglib.lab.tryout import TriedOut, try_out
from fglib.lab.workers import train_plan, train_plans

__all__ = [
    "BusyError",
    "Plan",
    "Results",
    "Run",
    "TriedOut",
    "ensure",
    "plans",
    "recorded",
    "train_plan",
    "train_plans",
    "try_out",
]
