"""Where the time of one document goes on its way in: microseconds of the processor, each part measured alone in this process.

`arrays of 100 / single` cannot exceed what a single-document message costs over `all`: what is done for each document is done in an
array too.
"""

import gc
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from groundswell.clock import SystemClock
from groundswell.demo import script
from groundswell.language import language
from groundswell.records import InboundDocument
from groundswell.settings import Settings
from groundswell.text import normalise
from stream.ingest import Terms, take
from stream.ingest_work import chunks
from stream.names import entities

ROUNDS = 3


def split(made: Sequence[dict[str, Any]]) -> dict[str, float]:
    """us a document: decode, normalise, language, link, encode, other, all. The quickest of ROUNDS each."""
    catalogue = entities.load_for(Settings(catalogues=[str(script.catalogue())]))
    terms = Terms(link=lambda words, symbols: entities.link(catalogue, words, symbols), clock=SystemClock())
    raw = [json.dumps(one).encode() for one in made]
    texts = [normalise(one["text"]) for one in made]
    documents = [take(one, "bench", "news", 0, 0, terms).documents for one in raw]
    decode = msgspec.json.Decoder(InboundDocument).decode
    gc.collect()
    gc.freeze()  # ingest holds no such lists: the collector shall not walk them here
    found = {
        "decode": _us(decode, raw),
        "normalise": _us(normalise, [one["text"] for one in made]),
        "language": _us(language, texts),
        "link": _us(lambda text: entities.link(catalogue, text), texts),
        "encode": _us(chunks, documents),
    }
    whole = _us(lambda one: take(one, "bench", "news", 0, 0, terms), raw) + found["encode"]
    gc.unfreeze()
    return {**found, "other": round(whole - sum(found.values()), 1), "all": round(whole, 1)}


def _us(work: Callable[[Any], object], each: Sequence[Any]) -> float:
    best_s = float("inf")
    for _ in range(ROUNDS):
        began_s = time.process_time()
        for one in each:
            work(one)
        best_s = min(best_s, time.process_time() - began_s)
    return round(1e6 * best_s / len(each), 1)
