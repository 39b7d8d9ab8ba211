"""The command `airouter`: what an administrator needs beside a running Orthanc."""

import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, TypeVar

import pydicom
import typer
from pydicom.errors import InvalidDicomError
from pyorthanc import Orthanc

from airouter import __version__, config
from airouter.adapters import audit_check, audit_key
from airouter.adapters import sidecar as slide_sidecar
from airouter.adapters.configuration import folder_of, make_credentials, read
from airouter.adapters.converter import Converter
from airouter.adapters.files import LocalFiles
from airouter.adapters.rest import connect
from airouter.adapters.slide_import import SlideImporter, Summary
from airouter.adapters.slide_store import SlideStore
from airouter.domain.audit_chain import Broken
from airouter.domain.route import explain as explain_route
from airouter.domain.route import matches
from airouter.domain.study import SOURCE_SOP_CLASSES
from airouter.errors import ConfigurationError, RouterError
from airouter.imaging.attributes import attributes
from airouter.inference.repository import ModelRepository
from airouter.inference.variant import FEWEST, FILE, METHODS, SELFTEST, WEIGHTS
from airouter.services.catalogue import catalogue
from airouter.services.preflight import problems

_UPLOAD_SECONDS = 900.0
_Item = TypeVar("_Item")

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


@app.command("verify-audit")
def verify_audit(
    configuration: Configuration,
    anchor: Annotated[
        list[Path] | None,
        typer.Option(exists=True, dir_okay=False, help="A file of exported lines, kept elsewhere; may be repeated."),
    ] = None,
    export: Annotated[Path | None, typer.Option(help="Write the records to this new file if it is whole.")] = None,
) -> None:
    """Check that no record of the audit trail was changed, moved, put in or taken out.

    Exit code 0: whole; 1: broken; 2: it cannot be checked. Writes nothing to the database, also while Orthanc runs.
    """
    try:
        settings, base = config.load(read(configuration)), folder_of(configuration)
        anchors = list(anchor or ())
        own = (base / settings.audit.json_lines).resolve() if settings.audit.json_lines is not None else None
        if own is not None and own.is_file():
            anchors.append(own)
        key = audit_key.load(settings.audit_key(base))
        found = audit_check.check(settings.database_url(base), key, anchors, export)
    except RouterError as error:
        typer.echo(f"The audit trail cannot be checked: {error}\n{error.advice}", err=True)
        raise typer.Exit(2) from None
    if isinstance(found, Broken):
        typer.echo(f"The audit trail is BROKEN at record {found.seq}: {found.why}.", err=True)
        if found.seq == 1:
            typer.echo("If that is so of the very first record, the key may be another trail's.", err=True)
        raise typer.Exit(1)
    typer.echo(f"The audit trail is whole: {found.records} records, digest of the last {found.digest}.")
    if found.anchored:
        typer.echo(f"Anchors kept outside the database confirm it up to record {found.anchored}.")
    else:
        typer.echo("No anchor: whoever can write the database may have cut off its end. See AIRouter.Audit.JsonLines.")


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
        task = f"{route.pipeline} with {route.model or 'no model'}"
        typer.echo(f"\nroute {route.name!r} (revision {route.revision}) {verdict}: {task}")
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


@app.command("import")
def import_slides(
    files: Annotated[
        list[Path], typer.Argument(exists=True, dir_okay=False, help="Slides: .svs, .tiff, .ndpi, .mrxs and the like.")
    ],
    configuration: Annotated[
        Path | None, typer.Option("--config", exists=True, help="Orthanc's configuration: a file, or a folder.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="Orthanc's address, where its configuration is not at hand.")] = None,
    user: Annotated[str | None, typer.Option(help="With --url; the password is that of AIROUTER_PASSWORD.")] = None,
    sidecar: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="In place of `<file name>.json` beside the slide.")
    ] = None,
    patient_id: Annotated[str | None, typer.Option(help="Over the sidecar's, as all that follow.")] = None,
    patient_name: Annotated[str | None, typer.Option(help="As DICOM writes it: family^given.")] = None,
    birth_date: Annotated[str | None, typer.Option(help="YYYY-MM-DD.")] = None,
    sex: Annotated[str | None, typer.Option(help="F, M or O.")] = None,
    study_uid: Annotated[str | None, typer.Option(help="Study Instance UID; derived where not given.")] = None,
    accession: Annotated[str | None, typer.Option(help="Accession number.")] = None,
    study_date: Annotated[str | None, typer.Option(help="YYYY-MM-DD.")] = None,
    study_time: Annotated[str | None, typer.Option(help="HH:MM:SS.")] = None,
    study_description: Annotated[str | None, typer.Option()] = None,
    referring_physician: Annotated[str | None, typer.Option()] = None,
    container: Annotated[str | None, typer.Option(help="Identifier of the slide itself.")] = None,
    specimen: Annotated[str | None, typer.Option(help="Identifier of the specimen on it.")] = None,
    stain: Annotated[str | None, typer.Option(help="H&E or H-DAB.")] = None,
    spacing: Annotated[float | None, typer.Option(help="um between pixels, in place of what the file says.")] = None,
    with_label: Annotated[bool, typer.Option("--with-label", help="Store the photograph of the label too.")] = False,
    with_overview: Annotated[
        bool, typer.Option("--with-overview", help="Store the photograph of the whole slide too.")
    ] = False,
    temporary: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder for the converted files meanwhile.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per slide.")] = False,
) -> None:
    """Turn slides of scanners' own formats into DICOM and store them in Orthanc; exit code 1 if one was not."""
    if len(files) > 1 and (container or specimen or sidecar):
        raise typer.BadParameter("--container, --specimen and --sidecar are those of one slide")
    options = {
        "patient": {"id": patient_id, "name": patient_name, "birth_date": birth_date, "sex": sex},
        "study": {
            "instance_uid": study_uid,
            "accession_number": accession,
            "date": study_date,
            "time": study_time,
            "description": study_description,
            "referring_physician": referring_physician,
        },
        "specimen": {"container": container, "identifier": specimen, "stain": stain},
        "spacing_um": spacing,
    }
    for number in (signal.SIGTERM, signal.SIGHUP):  # so that temporary files are removed
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            signal.signal(number, lambda n, _: sys.exit(128 + n))
    store = SlideStore(_connection(configuration, url, user))
    importer = SlideImporter(store, Converter(), temporary)
    failed = False
    for file in files:
        try:
            beside = sidecar or slide_sidecar.beside(file)
            description = slide_sidecar.read(beside if beside.exists() else None, options)
            summary = importer.import_slide(
                file,
                description,
                with_label=with_label,
                with_overview=with_overview,
                progress=lambda text, name=file.name: typer.echo(f"{name}: {text}", err=True),  # type: ignore[misc]
            )
        except RouterError as error:
            failed = True
            typer.echo(f"{file.name}: {error}\n{error.advice}", err=True)
            if as_json:
                typer.echo(json.dumps({"file": file.name, "error": {"reason": str(error), "advice": error.advice}}))
            continue
        typer.echo(json.dumps({"file": file.name, **summary.document()}) if as_json else _told(file.name, summary))
    store.close()
    if failed:
        raise typer.Exit(1)


def _connection(configuration: Path | None, url: str | None, user: str | None) -> Orthanc:
    """Orthanc as its configuration says, or as the options do. The password never stands on the command line."""
    if url is not None:
        if configuration is not None:
            raise typer.BadParameter("give either --config or --url")
        return connect(url, username=user, password=os.environ.get("AIROUTER_PASSWORD"), timeout=_UPLOAD_SECONDS)
    path = configuration or Path("orthanc.json")
    document = read(path)
    config.load(document)  # raises for whatever of it is wrong
    users = document.get("RegisteredUsers") or {}
    name = user or next(iter(users), None)
    secure = bool(document.get("SslEnabled"))
    return connect(
        f"{'https' if secure else 'http'}://127.0.0.1:{document.get('HttpPort', 8042)}",
        username=name,
        password=users.get(name),
        certificate=folder_of(path) / str(document.get("SslCertificate", "certificate.pem")) if secure else None,
        timeout=_UPLOAD_SECONDS,
    )


def _told(name: str, summary: Summary) -> str:
    spacing = f"{summary.spacing_um:.4g} um" + (" (given)" if summary.spacing_given else "")
    return "\n".join(
        [
            f"{name}: {summary.instances} instances, {summary.new} of them new",
            f"  study    {summary.study_uid}",
            f"  series   {summary.series_uid}",
            f"  levels   {', '.join(summary.levels)}",
            f"  spacing  {spacing}",
            f"  stain    {summary.stain or 'not given'}",
            f"  tiles    {'kept as they were' if summary.tiles_kept else 'encoded anew (JPEG)'}",
            f"  left out {', '.join(summary.left_out) or 'nothing'}",
        ]
    )


@app.command()
def quantize(
    folder: Annotated[Path, typer.Argument(metavar="MODEL_FOLDER", exists=True, file_okay=False)],
    images: Annotated[list[Path], typer.Argument(exists=True, help="DICOM files, or folders of them.")],
    calibrate: Annotated[int, typer.Option(min=FEWEST, help="Most images that ranges are taken from.")] = 128,
    check: Annotated[int, typer.Option(min=FEWEST, help="Most others that the agreement is measured on.")] = 128,
    method: Annotated[str, typer.Option(help=f"How ranges are found: {', '.join(METHODS)}.")] = "minmax",
    seed: Annotated[int, typer.Option(min=0, help="Which images are drawn.")] = 0,
) -> None:
    """Make 8-bit weights for a model and keep them if they agree with it; exit code 1 if they do not."""
    from airouter.services import quantise  # the quantiser is loaded by this command alone

    if method not in METHODS:
        raise typer.BadParameter(f"must be one of {', '.join(METHODS)}", param_hint="--method")
    plan = quantise.Plan(calibrate, check, method, seed)
    made = quantise.make(folder, LocalFiles(images), plan, _track)
    for reason, count in made.left_out.items():
        typer.echo(f"left out: {count}, because {reason}", err=True)
    typer.echo(
        f"{made.name}: {made.images} images of {made.sets} slides, volumes or photographs; "
        f"{made.calibrated} to calibrate, {made.checked} others to check"
    )
    if made.shows:
        typer.echo("seen in the check: " + ", ".join(f"{name} in {n}" for name, n in made.shows.items()))
    before, after = made.seconds
    typer.echo(f"agreement {made.agreement:.4f} ({made.metric}), the manifest's tolerance is {made.tolerance:g}")
    typer.echo(
        f"speed here, one thread: {1 / before:.1f} images/s before, {1 / after:.1f} images/s after, "
        f"{before / after:.2f} times; {made.bytes[0]:,} and {made.bytes[1]:,} bytes"
    )
    if not made.written:
        typer.echo("refused: the agreement is below the tolerance; nothing was written", err=True)
        raise typer.Exit(1)
    typer.echo(f"wrote {', '.join((WEIGHTS, SELFTEST, FILE))}; AIRouter.QuantizedModels takes {made.name!r} into use")


def _track(items: Iterable[_Item], total: int, label: str) -> Iterator[_Item]:
    """A progress bar on standard error where that is a terminal."""
    with typer.progressbar(items, length=total, label=label, file=sys.stderr) as bar:
        yield from bar


def _repository(document: dict[str, object], configuration: Path) -> ModelRepository:
    settings = config.load(document)
    return ModelRepository(
        settings.path("models_directory", folder_of(configuration)),
        configured=settings.execution_providers,
        quantized=settings.quantized_models,
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
