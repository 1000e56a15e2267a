"""What a claim costs: `python -m bench.claims [--documents N] [--redis URL] [--model NAME] [--json] [--assert]`, on a real Redis.

Documents with texts of their own, as long as texts in the wild are, are claimed in pieces as tag claims them; then the same model that tag
would ask tags the same texts, with one thread. The figures: claims a second, against the tagger's documents a second, and the bytes that
Redis holds for each. What it writes has a prefix of its own and is removed.
"""

import argparse
import asyncio
import secrets
import sys
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis
from tokenizers import Tokenizer

from bench import texts
from groundswell import telemetry
from groundswell.clients.connect import RedisClient
from groundswell.clock import SystemClock
from groundswell.commands.processes import the_model
from groundswell.keys import Keys
from groundswell.records import Document, Source
from groundswell.settings import Settings
from groundswell.tagging import Text
from models import catalog
from stream.claims import claim
from stream.tag import PIECE_RECORDS

REQUIRED_TIMES, TAGGED = 5.0, 512


async def measure(settings: Settings, count: int) -> dict[str, Any]:
    """Claims, then the model's own pace on the first of the same texts."""
    folder = catalog.locate(settings.model)
    tokenizer = Tokenizer.from_file(str(folder / catalog.TOKENIZER))
    source = texts.own(tokenizer, catalog.check(folder), seed=1)
    some = [next(source) for _ in range(count)]
    redis: RedisClient = Redis.from_url(settings.redis)
    keys = Keys(f"bench{secrets.token_hex(4)}")
    try:
        first_s, cpu_s = await _claimed(redis, keys, some)
        again_s, _ = await _claimed(redis, keys, some)
        kinds = await _bytes(redis, keys)
    finally:
        async for key in redis.scan_iter(match=f"{keys.namespace}:*", count=1_000):
            await redis.unlink(key)
        await redis.aclose()
    tagged_s = await _tagged(settings, some[:TAGGED])
    per_s, tagger_per_s = count / first_s, min(count, TAGGED) / tagged_s
    return {
        "documents": count, "claims_per_s": round(per_s), "claims_per_cpu_s": round(count / cpu_s),
        "read_again_per_s": round(count / again_s),
        "tagger_documents_per_s": round(tagger_per_s), "times_the_tagger": round(per_s / tagger_per_s, 1),
        "bytes": {kind: round(used / count, 1) for kind, used in sorted(kinds.items())},
        "required_times": REQUIRED_TIMES, "met": per_s / tagger_per_s >= REQUIRED_TIMES,
    }  # fmt: skip


async def _claimed(redis: RedisClient, keys: Keys, some: Sequence[Text]) -> tuple[float, float]:
    """Seconds by the clock and of this process."""
    now_ms = SystemClock().now_ms()
    documents = [
        (Source(n % 24, n // 24), Document(id=f"d{n}", text=text.text, lang="zh" if text.lang == "zh" else "en", source="bench",
                                           author=f"a{n}", published_at=now_ms, ingested_at=now_ms))
        for n, text in enumerate(some)
    ]  # fmt: skip
    began_s, cpu_s = time.monotonic(), time.process_time()
    for start in range(0, len(documents), PIECE_RECORDS):
        await claim(redis, keys, documents[start : start + PIECE_RECORDS])
    return time.monotonic() - began_s, time.process_time() - cpu_s


async def _bytes(redis: RedisClient, keys: Keys) -> dict[str, int]:
    """Bytes by kind of key: claims (c), story bands, signatures."""
    kinds: dict[str, int] = {}
    async for key in redis.scan_iter(match=f"{keys.namespace}:*", count=1_000):
        kind = key.decode().split(":")[1]
        kinds[kind] = kinds.get(kind, 0) + int(await redis.memory_usage(key) or 0)
    return kinds


async def _tagged(settings: Settings, some: Sequence[Text]) -> float:
    model = the_model(settings)
    await model.start()
    try:
        await model.tag(some[:32])
        began_s = time.monotonic()
        await model.tag(list(some))
        return time.monotonic() - began_s
    finally:
        await model.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 with --assert when claims are dearer than required."""
    parser = argparse.ArgumentParser(prog="groundswell bench claims", description="What a claim costs.")
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument(
        "--redis", default="redis://127.0.0.1:16379/0", help="A real Redis; `make services` starts one there."
    )
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--json", action="store_true", help="Print JSON only.")
    parser.add_argument("--assert", dest="strict", action="store_true", help="Exit status 1 when the figure is missed.")
    asked = parser.parse_args(arguments)
    telemetry.configure("console", "warning", stage="bench")
    found = asyncio.run(measure(Settings(redis=asked.redis, model=asked.model), asked.documents))
    if asked.json:
        print(msgspec.json.encode(found).decode())
    else:
        print(f"claims        {found['claims_per_s']:>8,} a second ({found['claims_per_cpu_s']:,} a CPU second)")
        times = f"{found['times_the_tagger']} times, at least {REQUIRED_TIMES}"
        print(f"tagger        {found['tagger_documents_per_s']:>8,} documents a second: {times}")
        print(
            f"bytes a claim {found['bytes']} (few claims a shard here: a busy day's are in tests/contract/test_claims.py)"
        )
    return 1 if asked.strict and not found["met"] else 0


if __name__ == "__main__":
    sys.exit(main())
