"""One settings struct. Each field has its bounds, its default and its sentence; the environment (GROUNDSWELL_<FIELD>) beats a TOML file.

`groundswell settings` prints what is in force, secrets masked. Only cli.py reads the environment, through `load`.
"""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, convert, structs

from groundswell.errors import BadSetting

PREFIX = "GROUNDSWELL_"
NOT_SETTINGS = frozenset({"CONFIG", "RUN"})  # read by cli.py itself
SECRETS = frozenset({"secret_key", "kafka_password", "redis", "redis_sentinel_password", "smtp", "watch_url"})

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Count = Annotated[int, Meta(ge=1)]
Port = Annotated[int, Meta(ge=0, le=65_535)]


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set. Units are in the names."""

    # where the services are; both empty: the ones that `groundswell up` brings
    kafka: str = ""  # host:port, several by comma
    redis: str = ""  # redis://host:port/db, rediss:// with TLS, redis+cluster://…, redis+sentinel://…/name/db
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"  # how to talk to the broker
    kafka_mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] = "SCRAM-SHA-512"  # of SASL
    kafka_user: str = ""  # for SASL
    kafka_password: str = ""  # of that user
    kafka_ca: str = ""  # PEM file: who signs the brokers' certificates; empty: the system's authorities
    kafka_cert: str = ""  # PEM file: our own certificate, where the broker asks for one
    kafka_key: str = ""  # PEM file: its private key; empty: in kafka_cert
    redis_ca: str = ""  # PEM file: who signs the certificate of rediss://; empty: the system's authorities
    redis_cert: str = ""  # PEM file: our own certificate, where Redis asks for one
    redis_key: str = ""  # PEM file: its private key; empty: in redis_cert
    redis_sentinel_password: str = ""  # of the sentinels themselves, where they ask for one
    insecure: bool = False  # allow plain text to a broker or Redis on another machine
    prefix: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}\Z")] = "groundswell"  # of topics and Redis keys
    single_partition: bool = False  # one partition a topic: a replay's namespace
    secret_key: str = (
        ""  # base64 of 32 bytes, or several by comma: endpoint secrets are sealed with the first, any opens
    )
    state_dir: str = ""  # where `up` notes its addresses; empty: ~/.local/state/groundswell

    connect_s: Seconds = 20.0  # how long a broker or Redis may take to answer at the start

    # how processes talk
    log: Literal["auto", "json", "console"] = "auto"  # auto: colours on a terminal, else JSON lines
    log_level: Literal["debug", "info", "warning", "error"] = "info"  # the least that is logged
    metrics_host: str = "127.0.0.1"  # where metrics_port listens
    metrics_port: Port = 0  # 0: a free one; /metrics, /livez and /readyz of this process
    drain_s: Seconds = 6.0  # after SIGTERM: finish what was begun, then leave
    stuck_s: Annotated[float, Meta(ge=10, le=86_400)] = (
        900.0  # a partition may be at one batch so long; then its process ends
    )
    clock: Literal["system", "event"] = "system"  # event: a document is scored as of its own published_at

    # ingest
    catalogues: list[str] = []  # further catalogue files, beside the built-in one
    packs: list[str] = []  # domain packs: names of shipped ones (banking, nev) or folders
    author_pepper: str = "groundswell"  # names of authors are hashed with it before they are stored
    future_s: Seconds = 300.0  # published_at may be this far ahead

    # tag
    model: str = "bundled"  # or a folder, or a hub id of a transformers sentiment classifier: org/name
    model_download: bool = False  # a hub id that this machine does not hold may be fetched
    model_devices: list[str] = []  # cpu, cuda:0, ...: one model process each; empty: the first GPU, else the processor
    model_threads: Annotated[int, Meta(ge=1, le=64)] = 1  # of the model's process
    batch_documents: Annotated[int, Meta(ge=1, le=2_000)] = 256  # read from one partition at a time
    model_timeout_s: Seconds = 60.0  # for one batch; then the process is started again
    data: str = ""  # folder of the public labelled sets, for train and evaluate; docs/data.md

    # aggregate and detect
    step_s: Annotated[int, Meta(ge=60, le=3_600)] = 60  # the detector's step; buckets are always minutes
    sensitivity: Literal["fewer", "balanced", "more"] | Annotated[float, Meta(gt=0, le=1_000)] = (
        "balanced"  # at most 1, 5, 20, or so many false alarms a day in all
    )
    line: Literal["guaranteed", "calibrated"] = (
        "guaranteed"  # that budget by the bound, or as measured on simulated talk
    )
    trusted_sources: list[
        str
    ] = []  # one negative text of theirs on fraud, default, regulation or safety may alert alone
    events: str = ""  # CSV file of scheduled events: subject, start, end, kind, factor; read at the start of aggregate
    lateness_s: Seconds = 30.0  # a bucket closes this long after its end, by event time
    idle_s: Seconds = 60.0  # without new rows the clock closes buckets

    # deliver
    deliver_allow: list[str] = []  # operator's exceptions of the address guard: "127.0.0.1:9000", "10.2.0.0/16:443"
    deliver_http: bool = False  # allow http:// besides https://
    deliver_timeout_s: Seconds = 15.0  # for one attempt
    smtp: str = ""  # smtp://user:password@host:587 (STARTTLS) or smtps://…:465; for channel email
    smtp_from: str = ""  # the sender's address
    watch_url: str = ""  # pinged each minute while the last canary is fresh: a dead man's switch
    canary_s: Annotated[float, Meta(ge=10, le=3_600)] = (
        60.0  # with watch_url: a canary document goes the whole road so often
    )
    drill_s: Annotated[float, Meta(ge=0, le=86_400)] = 0.0  # a fire drill so often; 0: only by `groundswell drill`

    # dashboard
    host: str = "127.0.0.1"  # where the page listens
    port: Port = 8080  # of the page
    access: Literal["loopback", "token", "proxy"] = "loopback"  # who may use the page: docs/access.md
    behind_proxy: bool = False  # with access=loopback: listens beyond it, what stands before decides who comes
    proxy_from: list[str] = []  # proxies, by address or network: their word counts; empty: those on this machine
    proxy_user_header: str = "X-Forwarded-User"  # with access=proxy: who asks
    proxy_groups_header: str = "X-Forwarded-Groups"  # with access=proxy: the groups of that person, by comma
    proxy_roles: list[str] = []  # with access=proxy: group=role, the highest of a person's counts
    proxy_role: Literal["", "viewer", "analyst", "operator"] = "viewer"  # of a person in none of these; empty: none
    page_url: str = ""  # links in alerts; empty: http://host:port
    prices: str = ""  # CSV file of prices to draw beneath the counts: subject, time, price; read again when it changes
    price_topic: str = ""  # full name of a Kafka topic of prices: JSON with subject, at, price, currency


def load(environment: Mapping[str, str], file: Path | None = None) -> Settings:
    """Settings from a TOML file and the environment, which wins. Raises BadSetting with the nearest name."""
    found: dict[str, Any] = {}
    if file is not None:
        found.update(_from_file(file))
    for variable, value in environment.items():
        if variable.startswith(PREFIX) and variable.removeprefix(PREFIX) not in NOT_SETTINGS:
            if variable.startswith(PREFIX + "TEST_"):
                continue
            found[variable.removeprefix(PREFIX).lower()] = value
    return from_values(found)


def from_values(found: Mapping[str, Any]) -> Settings:
    """Check names and bounds; text is converted to each field's type, lists split at commas."""
    fields = {field.name: field for field in structs.fields(Settings)}
    values: dict[str, Any] = {}
    for name, value in found.items():
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise BadSetting(f"There is no setting {name!r}.{hint}")
        if fields[name].type == list[str] and isinstance(value, str):
            values[name] = [part.strip() for part in value.split(",") if part.strip()]
        else:
            values[name] = value
    try:
        return convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise BadSetting(f"A setting is out of bounds: {error}.") from error


def masked(settings: Settings) -> dict[str, Any]:
    """As a dictionary to print: what is secret shows only that it is set."""
    shown: dict[str, Any] = structs.asdict(settings)
    for name in SECRETS & shown.keys():
        if name in ("redis", "smtp"):
            shown[name] = _without_password(shown[name])
        elif shown[name]:
            shown[name] = "(set)"
    if shown["author_pepper"] != "groundswell":
        shown["author_pepper"] = "(set)"
    return shown


def environment(settings: Settings) -> dict[str, str]:
    """What a child process needs to see the same settings: only the fields that differ from their default."""
    default = Settings()
    changed = {}
    for name, value in structs.asdict(settings).items():
        if value != getattr(default, name):
            changed[PREFIX + name.upper()] = ",".join(value) if isinstance(value, list) else str(value)
    return changed


def _from_file(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadSetting(f"The settings file {file} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSetting(f"The settings file {file} is not TOML: {error}.") from error


def _without_password(url: str) -> str:
    scheme, found, rest = url.partition("://")
    if not found or "@" not in rest:
        return url
    return f"{scheme}://(set)@{rest.rpartition('@')[2]}"
