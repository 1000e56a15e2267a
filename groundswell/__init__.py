"""The kernel: records, settings, clock, errors, decisions, keys, telemetry. It imports none of the parts; all of them import it."""

__version__ = "0.1.0"
