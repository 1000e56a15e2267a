"""Whether a chaos run's own Kafka and Redis can be started here."""

import shutil

from bench.chaos_services import JARS
from tests.conftest import missing


def java_and_redis() -> None:
    """Skip on a laptop, fail under CI, where they are not."""
    if not JARS.is_dir() or not shutil.which("java") or not shutil.which("redis-server"):
        missing("No Kafka, Java or Redis to start: run 'make services'.")
