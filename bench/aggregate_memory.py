"""What aggregate keeps in memory for so many subjects: `python -m bench.aggregate_memory SUBJECTS`, one process that is measured and ends.

Windows and detectors of 64 scored partitions, fed three hours of six live minutes an hour each, closed minute by minute.
"""

import json
import sys
from pathlib import Path

from bench.surge_road import Road, directory
from groundswell.keys import HOUR_MS, MINUTE_MS
from groundswell.records import Row, ScoredBatch, ScoredDocument
from stream.topology import Topology

HOURS, LIVE_EVERY_MINUTES = 3, 10
START_MS = 1_700_000_000_000 // HOUR_MS * HOUR_MS


def resident_mb() -> float:
    """Of this process, now."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1_024


def main(subjects: int) -> None:
    topology, known = Topology("bench"), directory()
    homes: dict[int, list[str]] = {}
    for number in range(subjects):
        homes.setdefault(topology.scored_partition(f"XBEN:S{number:05d}"), []).append(f"XBEN:S{number:05d}")
    before_mb = resident_mb()
    roads = {home: Road(known) for home in homes}
    for minute in range(HOURS * 60):
        at_ms = START_MS + minute * MINUTE_MS
        for home, names in homes.items():
            live = names[minute % LIVE_EVERY_MINUTES :: LIVE_EVERY_MINUTES]
            documents = [
                ScoredDocument(
                    index=index, id=f"{minute}-{name}", story=f"{minute}-{name}", published_at=at_ms, ingested_at=at_ms + 300,
                    source="forum", author=f"a{minute}", excerpt="A sentence of the usual length, such as a card shows to its reader.",
                    about=(name,), rows=(Row(name, "negative" if (minute + index) % 5 == 0 else "neutral", 0.4),),
                )
                for index, name in enumerate(live)
            ]  # fmt: skip
            if documents:
                roads[home].take(ScoredBatch(partition=0, offset=minute, documents=documents, model="bench"))
    after_mb = resident_mb()
    print(
        json.dumps(
            {
                "subjects": subjects, "before_mb": round(before_mb), "resident_mb": round(after_mb),
                "bytes_a_subject": round((after_mb - before_mb) * 1_048_576 / subjects),
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]))
