"""A Faust table that counts the same rows, for bench/aggregate.py; `python -m bench.aggregate_faust KAFKA PREFIX ROWS` is its process.

The table lives in memory and logs each change to its topic, as Faust does it. Timed inside, from the first record to the last row.
"""

import asyncio
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from groundswell.clients.connect import acknowledged, close_producer, open_producer
from groundswell.settings import Settings

DONE_S = 120.0


async def measure(kafka: str, records: Sequence[bytes], rows: int) -> dict[str, Any]:
    """Writes the records to a topic of their own and lets Faust count them."""
    from confluent_kafka.admin import AdminClient, NewTopic

    prefix = f"faust{secrets.token_hex(4)}"
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
    wanted = [
        NewTopic(f"{prefix}-in", 1, 1),
        NewTopic(f"{prefix}-app-counts-changelog", 1, 1, config={"cleanup.policy": "compact"}),
    ]
    for one in admin.create_topics(wanted).values():
        one.result(20)
    producer = await open_producer(Settings(kafka=kafka))
    await acknowledged([await producer.send(f"{prefix}-in", value, partition=0) for value in records])
    await close_producer(producer)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.aggregate_faust", kafka, prefix, str(rows),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DONE_S):
            async for line in process.stdout:
                if line.startswith(b"{"):
                    found: dict[str, Any] = json.loads(line)
                    return found
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    raise RuntimeError("the Faust table ended without a word")


def main(kafka: str, prefix: str, rows: int) -> None:
    """Count, say how long it took, end."""
    import faust
    import msgspec

    from groundswell.records import ScoredBatch

    decode = msgspec.json.Decoder(ScoredBatch).decode
    app = faust.App(
        f"{prefix}-app", broker=f"kafka://{kafka}", web_enabled=False, store="memory://", topic_allow_declare=False,
        topic_disable_leader=True, datadir=tempfile.mkdtemp(), stream_wait_empty=False, topic_partitions=1, worker_redirect_stdouts=False,
    )  # fmt: skip
    counts = app.Table("counts", default=int, partitions=1, key_type=str, value_type=int)
    source = app.topic(f"{prefix}-in", key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    @app.agent(source)  # type: ignore[untyped-decorator]
    async def count(stream: Any) -> None:
        done, began_s, cpu_s = 0, 0.0, 0.0
        async for value in stream:
            began_s, cpu_s = began_s or time.perf_counter(), cpu_s or time.process_time()
            for document in decode(value).documents:
                minute = document.published_at // 60_000 * 60_000
                for row in document.rows:
                    counts[f"{row.subject}:{minute}:{row.label}"] += 1
                    done += 1
            if done >= rows:
                seconds, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
                total = sum(int(one) for one in counts.values())
                print(
                    json.dumps(
                        {
                            "rows": total,
                            "rows_a_second": round(done / seconds),
                            "rows_a_cpu_second": round(done / cpu_s),
                        }
                    ),
                    flush=True,
                )

    faust.Worker(app, loglevel="info", quiet=False, override_logging=False).execute_from_commandline()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
