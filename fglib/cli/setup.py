"""`fglib doctor` and `fglib data`: what is installed, and which data sets are there."""

import json
from typing import Annotated

import typer

from fglib.cli.shared import DataDir, Json, app, say
from fglib.errors import ConfigError, FglibError


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
            say(f"{'ok  ' if f['ok'] else 'FAIL' if f['needed'] else '-   '}  {f['what']}: {f['found']}")
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
    from fglib.data.sources import SOURCES, load, status
    from fglib.storage import data_root

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
    say(f"data sets are looked for in {data_root(data_dir)}")
    for row in rows:
        state, detail = ("found", row["where"] or "made in memory") if row["found"] else ("missing", row["how"])
        say(f"{state:<8} {row['name']:<15} {detail}")
