"""The command `airouter`: what an administrator needs beside a running Orthanc."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import pydicom
import typer
from pydicom.errors import InvalidDicomError

from airouter import __version__, config
from airouter.adapters.configuration import folder_of, make_credentials, read
from airouter.domain.route import explain as explain_route
from airouter.domain.route import matches
from airouter.domain.study import SOURCE_SOP_CLASSES
from airouter.errors import ConfigurationError, RouterError
from airouter.imaging.attributes import attributes
from airouter.inference.repository import ModelRepository
from airouter.services.catalogue import catalogue
from airouter.services.preflight import problems

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Configuration = Annotated[Path, typer.Argument(exists=True, help="Orthanc's configuration: a file, or a folder.")]


@app.callback(invoke_without_command=True)
def about(version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False) -> None:
    """Orthanc AI Router. Not a medical device."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command()
def check(configuration: Configuration) -> None:
    """Say everything that is wrong with the section "AIRouter" and its routes; exit code 1 if anything is."""
    document = read(configuration)
    found: list[ConfigurationError] = config.problems(document)
    if not found:
        repository = _repository(document, configuration)
        found = problems(document, catalogue(repository.names(), repository.get))
        for model in repository.status():
            if not model.usable:
                typer.echo(f"warning: model {model.name} cannot be used: {model.reason}", err=True)
    for problem in found:
        typer.echo(f"{problem.path}: {problem.reason}", err=True)
    if found:
        raise typer.Exit(1)
    typer.echo("The configuration is sound.")


@app.command()
def models(configuration: Configuration) -> None:
    """List the models, load each, and run its self-test; exit code 1 if one cannot be used."""
    statuses = _repository(read(configuration), configuration).status()
    for model in statuses:
        remark = f" ({model.reason})" if model.reason else ""
        state = f"usable on {model.provider}{remark}" if model.usable else f"NOT USABLE: {model.reason}"
        typer.echo(f"{model.name} {model.version or '?'}  sha256 {(model.sha256 or '?')[:16]}  {state}")
    if not all(model.usable for model in statuses):
        raise typer.Exit(1)


@app.command()
def explain(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A DICOM file.")],
    configuration: Annotated[
        Path, typer.Option("--config", exists=True, help="Orthanc's configuration: a file, or a folder.")
    ] = Path("orthanc.json"),
) -> None:
    """Show, for every route, each condition's value in this file and whether it matched."""
    settings = config.load(read(configuration))
    try:
        header = pydicom.dcmread(file, stop_before_pixels=True)
    except InvalidDicomError:
        typer.echo(f"{file.name} is not a DICOM file", err=True)
        raise typer.Exit(1) from None
    sop_class = str(header.get("SOPClassUID", "missing"))
    modality = SOURCE_SOP_CLASSES.get(sop_class)
    typer.echo(f"{file.name}: SOP class {sop_class} ({modality or 'not analysed by any route'})")
    values = attributes(header)
    for route in settings.compiled_routes():
        clauses = explain_route(route, values)
        verdict = "matches" if modality is not None and matches(clauses) else "does not match"
        typer.echo(f"\nroute {route.name!r} (revision {route.revision}) {verdict}: {route.pipeline} with {route.model}")
        for clause in clauses:
            mark = "yes" if clause.matched else "no "
            typer.echo(f"  {mark}  {clause.path}: asked for {clause.expected}; the file has {clause.found}")


@app.command()
def credentials(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Orthanc's configuration folder.")],
) -> None:
    """Write credentials.json (one user, a random password, readable by its owner alone) unless users are registered."""
    made = make_credentials(folder)
    typer.echo(f"wrote {made}" if made else "users are registered already; nothing was written")


@app.command()
def orthanc(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Orthanc's configuration folder.")],
    program: Annotated[str, typer.Option(help="Orthanc's executable.")] = "/usr/sbin/Orthanc",
) -> None:
    """Start Orthanc on a configuration folder, inside this Python environment; makes credentials at the first start."""
    made = make_credentials(folder)
    if made:
        typer.echo(f"user and password are in {made}")
    # Debian's CPython honours this name and starts inside the virtual environment it points to.
    os.environ["PYTHONEXECUTABLE"] = sys.executable
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.execv(program, [program, str(folder)])  # noqa: S606 - no shell, fixed arguments


def _repository(document: dict[str, object], configuration: Path) -> ModelRepository:
    settings = config.load(document)
    return ModelRepository(
        settings.path("models_directory", folder_of(configuration)), configured=settings.execution_providers
    )


def main() -> None:
    """Run; a RouterError becomes one line and exit code 1 instead of a traceback."""
    try:
        app()
    except ConfigurationError as error:
        sys.exit(f"{error}\n{error.advice}")
    except RouterError as error:
        sys.exit(json.dumps({"error": {"reason": str(error), "advice": error.advice}}))


if __name__ == "__main__":
    main()
