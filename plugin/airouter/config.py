"""Settings: the section "AIRouter" of orthanc.json, validated whole; every error names its JSON path."""

import re
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_pascal
from pydicom.datadict import dictionary_VR, tag_for_keyword

from airouter.domain.model import Scalar
from airouter.domain.phase import Phase
from airouter.domain.priority import Priority
from airouter.domain.reading_order import ALLOWANCE_MINUTES, Allowances
from airouter.domain.role import Role
from airouter.domain.route import NUMERIC, Condition, Route
from airouter.errors import ConfigurationError

SECTION = "AIRouter"
Provider = Literal["CPU", "CUDA", "TensorRT", "OpenVINO"]
# A file, or the driver that is installed; a database in memory would forget every job.
_DATABASE = r"^(sqlite:///[^:?].*|postgresql\+psycopg://.+)$"
_ORIGIN = r"^https?://[^/\s?#@]+$"  # as browsers write it: no slash at the end
# What a stored date, time or UID can be compared with; anything else can never match.
_COMPARABLE: Mapping[str, re.Pattern[str]] = {
    "DA": re.compile(r"\d{8}|\d{4,8}-|-\d{4,8}|\d{4,8}-\d{4,8}"),
    "TM": re.compile(r"[\d.]+|[\d.]+-|-[\d.]+|[\d.]+-[\d.]+"),
    "DT": re.compile(r"[\d.+]+|[\d.+]+-|-[\d.+]+|[\d.+]+-[\d.+]+"),
    "UI": re.compile(r"[\d.\\]+"),
}
# Left out of what routes see (imaging.attributes): nothing of it could ever match.
_BULK = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "OB or OW", "UN"})


class _Strict(BaseModel):
    """Unknown keys and silent conversions are refused; keys are written as Orthanc writes its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, alias_generator=to_pascal)


def _priority(value: object) -> object:
    if not isinstance(value, str) or value not in list(Priority):
        raise ValueError(f"must be one of {', '.join(Priority)}")
    return Priority(value)


def _role(value: object) -> object:
    if not isinstance(value, str) or value not in list(Role):
        raise ValueError(f"must be one of {', '.join(Role)}")
    return Role(value)


def _phase(value: object) -> object:
    if not isinstance(value, str) or value not in list(Phase):
        raise ValueError(f"must be one of {', '.join(Phase)}")
    return Phase(value)


class _Range(_Strict):
    min: float | None = None
    max: float | None = None


class _Exists(_Strict):
    exists: bool


class RouteSettings(_Strict):
    """One entry of AIRouter.Routes."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}$")
    pipeline: str = Field(min_length=1)
    model: str = ""  # none where the pipeline needs none
    match: dict[str, Any] = Field(min_length=1)
    companions: dict[str, str] = Field(default_factory=dict)
    parameters: dict[str, Scalar] = Field(default_factory=dict)
    priority: Annotated[Priority, BeforeValidator(_priority)] = Priority.ROUTINE


class UserSettings(_Strict):
    """One entry of AIRouter.Users: what a user of Orthanc is to the router. The key is Orthanc's user name."""

    roles: list[Annotated[Role, BeforeValidator(_role)]] = Field(min_length=1)
    name: str = Field(default="", max_length=64)  # as DICOM writes it: family^given
    organization: str = Field(default="", max_length=64)


class SyslogSettings(_Strict):
    """AIRouter.Audit.Syslog: a receiver of audit messages over TLS."""

    host: str = Field(min_length=1)
    port: int = Field(default=6514, ge=1, le=65535)
    ca_file: Annotated[str, Field(min_length=1)] | None = None  # none: the system's own authorities
    client_certificate: Annotated[str, Field(min_length=1)] | None = None
    client_key: Annotated[str, Field(min_length=1)] | None = None


class AuditSettings(_Strict):
    """AIRouter.Audit: the key of the trail, and where it is written besides the database."""

    key_file: Annotated[str, Field(min_length=1)] | None = None
    json_lines: Annotated[str, Field(min_length=1)] | None = None
    syslog: SyslogSettings | None = None
    head_records: int = Field(default=1000, ge=1, le=1_000_000)
    head_seconds: float = Field(default=60.0, gt=0, le=86_400)


class WorklistSettings(_Strict):
    """AIRouter.Worklist: in which order studies are read, and by whom."""

    allowance_minutes: dict[str, float] = Field(default_factory=dict)  # what is not given is as usual
    audit_share: float = Field(default=0.1, ge=0, le=1)
    claim_minutes: float = Field(default=30.0, ge=1, le=1440)

    @field_validator("allowance_minutes")
    @classmethod
    def _ordered(cls, given: dict[str, float]) -> dict[str, float]:
        unknown = sorted(set(given) - set(Priority))
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no priority: {', '.join(Priority)} are")
        Allowances({**ALLOWANCE_MINUTES, **{Priority(name): minutes for name, minutes in given.items()}})
        return given

    @property
    def allowances(self) -> Allowances:
        """Of each priority; those that are not given are as usual."""
        given = {Priority(name): minutes for name, minutes in self.allowance_minutes.items()}
        return Allowances({**ALLOWANCE_MINUTES, **given})


class AccessSettings(_Strict):
    """Who may do what over HTTP. These count also where others are wrong and the router does not run."""

    users: dict[str, UserSettings] = Field(default_factory=dict)
    organization: str = Field(default="", max_length=64)
    public_origins: list[Annotated[str, Field(pattern=_ORIGIN)]] = Field(default_factory=list)
    maximum_upload_megabytes: int = Field(default=4096, ge=1)
    compressed_requests: bool = False


class Settings(AccessSettings):
    """Everything the router can be told. docs/reference/configuration.md has a paragraph for each key."""

    enabled: bool = True
    models_directory: str = "models"
    state_directory: str = "airouter-state"
    database: Annotated[str, Field(pattern=_DATABASE)] | None = None
    node: str = Field(default_factory=socket.gethostname, min_length=1)
    execution_providers: list[Provider] = Field(default=["CPU"], min_length=1)
    workers: int = Field(default=1, ge=1, le=64)
    threads: int = Field(default=0, ge=0, le=256)
    quiet_time_seconds: float = Field(default=5.0, ge=0, le=3600)
    completion_deadline_seconds: float = Field(default=3600.0, ge=0)
    sweep_interval_seconds: float = Field(default=600.0, gt=0)
    retry_attempts: int = Field(default=40, ge=1, le=1000)
    retry_initial_seconds: float = Field(default=1.0, gt=0, le=3600)
    import_directory: Annotated[str, Field(min_length=1)] | None = None
    viewer_directory: Annotated[str, Field(min_length=1)] | None = None  # None: where scripts/ohif puts it
    import_settling_seconds: float = Field(default=10.0, ge=0, le=3600)
    quantized_models: list[str] = Field(default_factory=list)
    routes: list[RouteSettings] = Field(default_factory=list)
    initial_phase: Annotated[Phase, BeforeValidator(_phase)] = Phase.INTEGRATED
    audit: AuditSettings = Field(default_factory=AuditSettings)
    worklist: WorklistSettings = Field(default_factory=WorklistSettings)

    def path(self, setting: str, base: Path) -> Path:
        """A directory setting as an absolute path; relative ones start at `base`, the configuration's folder."""
        return (base / str(getattr(self, setting))).resolve()

    def database_url(self, base: Path) -> str:
        """SQLAlchemy URL of our tables and queue: the one given, or a SQLite file in the state folder."""
        return self.database or f"sqlite:///{self.path('state_directory', base) / 'airouter.sqlite'}"

    def audit_key(self, base: Path) -> Path:
        """The file of the audit trail's key: the one given, or one in the state folder."""
        given = self.audit.key_file
        return (base / given).resolve() if given else self.path("state_directory", base) / "audit.key"

    def compiled_routes(self) -> tuple[Route, ...]:
        """The routes as the domain knows them. Raises ConfigurationError for an impossible one."""
        return tuple(_route(route, f"{SECTION}.Routes[{n}]") for n, route in enumerate(self.routes))


def load(document: Mapping[str, Any]) -> Settings:
    """Settings of a whole Orthanc configuration. Raises the first ConfigurationError."""
    found = problems(document)
    if found:
        raise found[0]
    return Settings.model_validate(document.get(SECTION, {}))


def problems(document: Mapping[str, Any]) -> list[ConfigurationError]:
    """Everything wrong with the router's section and with what Orthanc's own settings must guarantee it."""
    mistaken = next((key for key in document if key != SECTION and key.lower() == SECTION.lower()), None)
    if mistaken is not None:
        return [ConfigurationError(mistaken, f"is not read; the section is called {SECTION}")]
    section = document.get(SECTION, {})
    if not isinstance(section, Mapping):
        return [ConfigurationError(SECTION, "must be an object")]
    try:
        settings = Settings.model_validate(section)
    except ValidationError as error:
        return [_problem(line["loc"], line["msg"], line["type"], Settings.model_fields) for line in error.errors()]
    found = _unsafe(document, settings)
    names: set[str] = set()
    for n, route in enumerate(settings.routes):
        path = f"{SECTION}.Routes[{n}]"
        if route.name in names:
            found.append(ConfigurationError(f"{path}.Name", f"another route is called {route.name!r} already"))
        names.add(route.name)
        try:
            _route(route, path)
        except ConfigurationError as error:
            found.append(error)
    return found


def _problem(loc: Sequence[int | str], message: str, kind: str, known: Mapping[str, Any]) -> ConfigurationError:
    path = SECTION
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    if kind == "extra_forbidden":
        message = "unknown key"
        if len(loc) == 1:
            message += f"; known keys are {', '.join(sorted(to_pascal(k) for k in known))}"
    return ConfigurationError(path, message)


def authenticated(document: Mapping[str, Any]) -> bool:
    """Whether Orthanc asks for passwords."""
    return bool(document.get("AuthenticationEnabled", document.get("RemoteAccessAllowed", False)))


def _unsafe(document: Mapping[str, Any], settings: Settings) -> list[ConfigurationError]:
    found = []
    users = document.get("RegisteredUsers") or {}
    if not isinstance(users, Mapping):
        return [ConfigurationError("RegisteredUsers", "must be an object of users and passwords")]
    asked = authenticated(document)
    if document.get("RemoteAccessAllowed", False) and not asked:
        found.append(ConfigurationError("AuthenticationEnabled", "must be true where RemoteAccessAllowed is true"))
    if settings.users and not asked:
        found.append(ConfigurationError("AuthenticationEnabled", f"must be true where {SECTION}.Users names users"))
    if asked and not users:
        # Orthanc 1.10 would then accept orthanc/orthanc.
        found.append(
            ConfigurationError("RegisteredUsers", "no user is registered; `airouter credentials FOLDER` makes one")
        )
    if users.get("orthanc") == "orthanc":
        found.append(ConfigurationError("RegisteredUsers.orthanc", "is the publicly known default password"))
    if document.get("SslEnabled") and document.get("SslVerifyPeers"):
        reason = "must be false: the router's own loopback requests carry no client certificate; check peers in a proxy"
        found.append(ConfigurationError("SslVerifyPeers", reason))
    if document.get("HttpServerEnabled", True) is not True:
        found.append(ConfigurationError("HttpServerEnabled", "must be true: the router reads and stores over loopback"))
    return found


def _route(route: RouteSettings, path: str) -> Route:
    conditions = tuple(_condition(key, value, f"{path}.Match.{key}") for key, value in route.match.items())
    return Route(
        name=route.name,
        pipeline=route.pipeline,
        model=route.model,
        conditions=conditions,
        parameters=route.parameters,
        priority=route.priority,
        companions=route.companions,
    )


def _condition(key: str, value: object, path: str) -> Condition:
    keywords = tuple(key.split("."))
    vr = ""
    for n, keyword in enumerate(keywords):
        tag = tag_for_keyword(keyword)
        if tag is None:
            raise ConfigurationError(path, f"{keyword!r} is not a DICOM keyword")
        vr = dictionary_VR(keyword)
        if tag >> 16 < 0x0008 or vr in _BULK or keyword == "PerFrameFunctionalGroupsSequence":
            raise ConfigurationError(path, f"impossible: routes do not see {keyword}")
        if n < len(keywords) - 1 and vr != "SQ":
            raise ConfigurationError(path, f"{keyword} is not a sequence, so nothing can stand below it")
    if isinstance(value, Mapping):
        return _structured(keywords, vr, value, path)
    if vr == "SQ":
        raise ConfigurationError(path, "a sequence can only be tested with Exists; name an attribute below it")
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(v, str | int | float) and not isinstance(v, bool) and v != "" for v in values):
        raise ConfigurationError(path, "must be a value, a list of values, {Min, Max} or {Exists}")
    if vr in NUMERIC and not all(_is_number(v) for v in values):
        raise ConfigurationError(path, f"is numeric ({vr}): text can never match")
    comparable = _COMPARABLE.get(vr)
    for one in values if comparable is not None else ():
        if comparable is not None and comparable.fullmatch(str(one)) is None:
            raise ConfigurationError(path, f"impossible: {one!r} can never match a value of type {vr}")
    return Condition(keywords, any_of=tuple(str(v) for v in values))


def _structured(keywords: tuple[str, ...], vr: str, value: Mapping[Any, Any], path: str) -> Condition:
    try:
        if "Exists" in value:
            return Condition(keywords, exists=_Exists.model_validate(value).exists)
        bounds = _Range.model_validate(value)
    except ValidationError as error:
        line = error.errors()[0]
        raise ConfigurationError(
            ".".join([path, *(str(p) for p in line["loc"])]),
            "unknown key; known keys are Exists, or Min and Max" if line["type"] == "extra_forbidden" else line["msg"],
        ) from None
    if bounds.min is None and bounds.max is None:
        raise ConfigurationError(path, "a range needs Min, Max or both")
    if bounds.min is not None and bounds.max is not None and bounds.min > bounds.max:
        raise ConfigurationError(path, f"impossible: Min {bounds.min:g} is above Max {bounds.max:g}")
    if vr not in NUMERIC:
        raise ConfigurationError(path, f"impossible: {keywords[-1]} is not numeric ({vr})")
    return Condition(keywords, minimum=bounds.min, maximum=bounds.max)


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
