"""`fglib chapter`, `fglib claims` and `fglib book`: what is read."""

import json
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Annotated

import typer

from fglib.cli.shared import Json, app, assignments, say, stoppable
from fglib.errors import check_known


@app.command()
def chapter(
    chapter: Annotated[str, typer.Argument(help="A chapter's name or number, or a notebook's path.")],
    preset: Annotated[str | None, typer.Option(help="recorded, smoke, cpu or paper; default: the chapter's.")] = None,
    parameters: Annotated[list[str] | None, typer.Option("-p", help="A parameter, as in -p seeds=[0,1].")] = None,
    output: Annotated[Path | None, typer.Option("-o", help="Where the executed notebook goes.")] = None,
) -> None:
    """Execute a chapter through papermill.

    Example: fglib chapter 11_coarse_to_fine --preset cpu -p seeds=[0,1]
    """
    from fglib.pages.notebooks import execute

    with stoppable("the same command starts the chapter again"):
        chosen = {} if preset is None else {"preset": preset}
        path = execute(chapter, chosen | assignments(parameters), output)
    say(path)


app.command("run", help="The older name of `fglib chapter`.")(chapter)


@app.command()
def claims(
    paper: Annotated[
        str | None, typer.Argument(help="patterns, grafit, coarse2fine or subtle; all when left out.")
    ] = None,
    verdict: Annotated[
        list[str] | None, typer.Option(help="Only claims with this verdict, such as undecided; may be given again.")
    ] = None,
    readme: Annotated[bool, typer.Option(help="Write the results table into README.md.")] = False,
    as_json: Json = False,
) -> None:
    """Print the ledger: every claim of the papers with its computed verdict.

    Example: fglib claims patterns --verdict undecided
    """
    from fglib.pages.claims import ledger, update_readme
    from fglib.pages.evidence import VERDICTS

    for name in verdict or ():
        check_known("verdict", name, VERDICTS)
    verdicts = [found for found in ledger(paper) if not verdict or found.verdict in verdict]
    if readme:
        say(update_readme())
    elif as_json:
        print(json.dumps([v.to_dict() for v in verdicts], indent=1))
    else:
        for v in verdicts:
            say(f"{v.verdict:<20} {v.id}")
            say(f"{'':<20} {v.reason}")


@app.command()
def book(
    serve: Annotated[bool, typer.Option(help="Also serve the pages on http://localhost.")] = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of --serve.")] = 8000,
) -> None:
    """Train the quickstart where it has no record, execute every chapter and render the book to _build/html.

    Example: fglib book --serve --port 8000
    """
    from fglib.pages.build import build_book, page_server

    # the port is taken before the build: one in use shows at once
    with stoppable("`fglib book` starts the build again"), page_server(port) if serve else nullcontext() as server:
        say(f"The book: {build_book()}")
        if server:
            say(f"Serving on http://localhost:{port}, Ctrl-C ends it")
            with suppress(KeyboardInterrupt):
                server.serve_forever()
