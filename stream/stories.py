"""Near copies by MinHash: which texts are the same story in nearly the same words; claims.py picks the story by it.

Pure arrays and bytes, the same on every machine and run. The recipe: 4-character shingles (2 for zh) of the folded
text, 64 hashes, 16 bands of 4, accepted at an estimated Jaccard of .55 (SimHash found a third of the same copies).
"""

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from groundswell.text import fold

HASHES = 64
BANDS = 16
ROWS = HASHES // BANDS
# Copies have a true Jaccard of .6 and more; its estimate scatters by .06, and strangers stay under .21.
SAME_STORY = 0.55
_SHORTEST = {"zh": 8}
_SHORTEST_OTHER = 20
_SHINGLE = {"zh": 2}
_SHINGLE_OTHER = 4
_LONGEST = 4_000  # code points that decide: a copy of a long article shares its beginning

Signature = NDArray[np.uint16]


def _splitmix(count: int, seed: int) -> NDArray[np.uint64]:
    # Constants spelled out by a fixed generator (Steele et al. 2014), not by a library that may change its stream.
    mask = (1 << 64) - 1
    values = []
    for step in range(1, count + 1):
        z = (seed + step * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        values.append(z ^ (z >> 31))
    return np.array(values, dtype=np.uint64)


_MULTIPLIERS = (_splitmix(HASHES, 20260701) | np.uint64(1))[:, None]
_OFFSETS = _splitmix(HASHES, 20260702)[:, None]
_POSITION = _splitmix(_SHINGLE_OTHER, 20260703) | np.uint64(1)
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_SHIFT = np.uint64(32)


def fingerprint(text: str) -> bytes:
    """16 bytes, equal for texts whose folds are equal: the exact-copy key, and the only one for very short texts."""
    return hashlib.blake2b(fold(text).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def signature(text: str, lang: str) -> Signature | None:
    """64 uint16 hashes of the text's shingles, or None when it is too short for anything but `fingerprint`."""
    folded = fold(text)[:_LONGEST]
    if len(folded) < _SHORTEST.get(lang, _SHORTEST_OTHER):
        return None
    size = _SHINGLE.get(lang, _SHINGLE_OTHER)
    points = np.frombuffer(folded.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    count = len(points) - size + 1
    shingles = points[:count] * _POSITION[0]
    for place in range(1, size):
        shingles += points[place : place + count] * _POSITION[place]
    shingles ^= shingles >> _SHIFT
    shingles *= _MIX
    shingles ^= shingles >> _SHIFT
    lowest = (shingles * _MULTIPLIERS + _OFFSETS).min(axis=1)
    # Of a minimum the top bits are all alike and the low ones badly mixed: 16 from the middle are a fair hash,
    # and let two different minima look equal once in 65,536.
    middle: Signature = (lowest >> _SHIFT).astype(np.uint16)
    return middle


def bands(sig: Signature) -> list[bytes]:
    """16 keys of 9 bytes; two stories that share one are candidates for the same story."""
    raw = encode(sig)
    width = ROWS * 2
    return [bytes((band,)) + raw[band * width : (band + 1) * width] for band in range(BANDS)]


def similarity(a: Signature, b: Signature) -> float:
    """The estimated Jaccard similarity in [0, 1]; its standard error is .06 at .6."""
    return float(np.count_nonzero(a == b)) / HASHES


def encode(sig: Signature) -> bytes:
    """128 bytes, little endian."""
    return sig.astype("<u2").tobytes()


def decode(raw: bytes) -> Signature:
    """The signature of `encode`; raises ValueError for any other length."""
    if len(raw) != HASHES * 2:
        raise ValueError(f"a signature has {HASHES * 2} bytes, not {len(raw)}")
    return np.frombuffer(raw, dtype="<u2").astype(np.uint16)


def nearest(sig: Signature, candidates: Iterator[tuple[str, Signature]]) -> tuple[str, float] | None:
    """The most similar candidate at or above `SAME_STORY`; the smallest name wins a tie, so order never matters."""
    best: tuple[float, str] | None = None
    for name, other in candidates:
        score = similarity(sig, other)
        if score >= SAME_STORY and (best is None or (-score, name) < (-best[0], best[1])):
            best = (score, name)
    return None if best is None else (best[1], best[0])
