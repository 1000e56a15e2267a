"""Logs and metrics of one process: JSON lines when nobody watches, colours on a terminal; `tell` counts and logs a named outcome.

Text from the world goes into fields, never into the event, and is cut by text.safe before it gets here.
"""

import logging
import sys
from enum import StrEnum
from typing import Any

import structlog
from prometheus_client import Counter, Gauge, Histogram

from groundswell.decisions import Fate, Stage
from groundswell.errors import Refused, every

LATENCY_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)

RECORDS = Counter(
    "groundswell_records", "Inputs by what became of them; read = the sum of the fates.", ["stage", "fate"]
)
DEAD_LETTERS = Counter("groundswell_dead_letters", "Inputs refused, by reason.", ["stage", "reason"])
DROPPED = Counter(
    "groundswell_records_dropped",
    "Dropped by Kafka before this stage read them: the retention is too short.",
    ["stage"],
)
IN_FLIGHT = Gauge(
    "groundswell_records_in_flight", "Read and not yet lasting. A rise means the stage behind is slow.", ["stage"]
)
DECISIONS = Counter("groundswell_decisions", "Named outcomes of detection and delivery.", ["kind", "decision"])
EVENT_LAG = Gauge("groundswell_event_lag_seconds", "Clock minus published_at of the newest input.", ["stage"])
BATCH_SECONDS = Histogram("groundswell_batch_seconds", "One batch through a stage.", ["stage"], buckets=LATENCY_S)
BUSY_SECONDS = Gauge(
    "groundswell_partition_busy_seconds", "The longest that a partition has been at one batch so far.", ["stage"]
)
TOKENS = Counter("groundswell_tokens", "Tokens read by the model.")
MODEL_QUEUE_TOKENS = Gauge("groundswell_model_queue_tokens", "Estimated tokens that wait for the model.")
MODEL_QUEUE_WAIT = Histogram(
    "groundswell_model_queue_wait_seconds",
    "The longest wait in each batch, before the model got it.",
    buckets=LATENCY_S,
)
MODEL_BATCH_FILL = Histogram(
    "groundswell_model_batch_fill_ratio",
    "Tokens of a batch to its budget; above 1 when the queue is late and batches are larger.",
    buckets=(0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1, 1.1, 1.5, 2, 2.5),
)
MODEL_PADDING_AVOIDED = Counter(
    "groundswell_model_padding_avoided_tokens", "What padding each batch's texts to its longest would have added."
)
MODEL_STAGE_SECONDS = Counter(
    "groundswell_model_stage_seconds", "Time in the model process: tokenise, model, heads.", ["part"]
)
MODEL_REPEATS = Counter(
    "groundswell_model_repeats", "Texts by whether an equal one had been answered: hit, miss.", ["outcome"]
)
WATERMARK = Gauge(
    "groundswell_watermark_timestamp_seconds", "Event time up to which buckets are closed, lowest partition."
)
WARMING = Gauge("groundswell_warming_partitions", "Scored partitions that are counted again after a lost Redis.")
ATTEMPTS = Counter("groundswell_delivery_attempts", "Delivery attempts by outcome.", ["endpoint", "outcome"])
DELIVERY_SECONDS = Histogram(
    "groundswell_delivery_seconds", "From planned to delivered, by channel.", ["channel"], buckets=LATENCY_S
)
ENDPOINT_STATE = Gauge(
    "groundswell_endpoint_state",
    "1 for the state an endpoint is in: healthy, degraded, disabled, unreadable.",
    ["endpoint", "state"],
)
CLOCK_SKEW = Gauge(
    "groundswell_clock_skew_seconds", "A receiver's clock less ours, by its Date; 0 within a minute.", ["endpoint"]
)
WAITING = Gauge("groundswell_delivery_waiting", "Events that wait for an endpoint.", ["endpoint"])
CANARY = Gauge("groundswell_watchdog_timestamp_seconds", "When the newest canary that came the whole road was written.")
DRILLS = Counter("groundswell_drills", "Fire drills by how they ended: alerted or missed.", ["outcome"])
LOG_LOST = Counter("groundswell_log_writes_lost", "Writes of the log that failed: most often a full disk.")
AUDIT = Counter(
    "groundswell_audit_records",
    "Records of the audit trail: sent to the broker, or unsent and in the log only.",
    ["outcome"],
)
STREAMS = Gauge("groundswell_sse_clients", "Browsers that listen to the live stream.")


def at_zero(stage: str) -> None:
    """Every series that an alarm counts is there from the start: Prometheus sees no rise in one that begins at 1."""
    for fate in Fate:
        if fate is not Fate.IN_FLIGHT:
            RECORDS.labels(stage, fate)
    for reason in sorted({refused.reason for refused in every(Refused)}):
        DEAD_LETTERS.labels(stage, reason)
    DROPPED.labels(stage)
    for outcome in ("alerted", "missed") if stage == Stage.DELIVER else ():
        DRILLS.labels(outcome)
    for outcome in ("sent", "unsent") if stage == Stage.DASHBOARD else ():
        AUDIT.labels(outcome)


class _StandardError:
    """Where the log goes. A disk that is full costs lines of it, which are counted, and never the process."""

    def write(self, text: str) -> int:
        try:
            return sys.stderr.write(text)
        except OSError:
            LOG_LOST.inc()
            return len(text)

    def flush(self) -> None:
        try:
            sys.stderr.flush()
        except OSError:
            LOG_LOST.inc()


def configure(style: str, level: str, **fields: Any) -> None:
    """Set up logging of this process once; `fields` (stage, instance) are on every line."""
    numeric = getattr(logging, level.upper())
    stream: Any = _StandardError()
    json_lines = style == "json" or (style == "auto" and not sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer() if json_lines else structlog.dev.ConsoleRenderer(pad_event_to=24)
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(**fields)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Libraries speak up from warnings on: their chatter would drown ours.
    root.setLevel(max(numeric, logging.WARNING))


def log() -> Any:
    """The logger; bind stage, partition, offset, document_id as fields."""
    return structlog.get_logger()


def tell(decision: StrEnum, *, kind: str, **fields: Any) -> None:
    """One outcome: a count, and a log line whose event is the outcome's own word."""
    DECISIONS.labels(kind, decision.value).inc()
    log().info(decision.value, kind=kind, **fields)
