"""The model process: `python -m models.worker MODEL [DEVICE]`, frames in, frames out; its other end is tagger.py.

It owns the weights and nothing else: no Kafka, no Redis, no settings. It says hello when the model has passed its
sanity check, answers one request at a time, and ends when its standard input closes. Frames: tags.py.
"""

import os
import sys
import time
from contextlib import suppress
from typing import BinaryIO

import msgspec
import torch

from groundswell.errors import BrokenModel, Misconfigured
from models import loading
from models.batch_queue import BATCH_TOKENS
from models.heads import Tagger
from models.loading import Loaded
from models.stages import Stages
from models.tags import Failure, Hello, Reply, Request, frame, read_frame

STOP = 2  # the exit status of something only a person can put right


def main() -> int:
    # The frames get the real standard output; whatever else prints goes to the log.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        tagger = ready(sys.argv[1], (sys.argv[2:] or ["auto"])[0])
    except Misconfigured as error:
        send(out, Failure(type(error).__name__, str(error), error.remedy))
        return STOP
    send(out, Hello(tagger.config.version, tagger.describe(), batch_tokens(tagger)))
    with suppress(BrokenPipeError):  # the parent went away: so do we
        serve(tagger, sys.stdin.buffer, out)
    return 0


def ready(model: str, device: str) -> Loaded:
    """The model, loaded and warm; "auto" is the first CUDA device where there is one that works."""
    if device == "auto" and torch.cuda.is_available():
        try:
            return ready(model, "cuda:0")
        except (RuntimeError, BrokenModel) as error:
            print(f"the CUDA device is not used: {error}", file=sys.stderr)
    tagger = loading.load(model, "cpu" if device == "auto" else device)
    tagger.warm_up()
    return tagger


def batch_tokens(tagger: Loaded) -> int:
    return tagger.encoder.runner.budget_tokens if isinstance(tagger, Tagger) else BATCH_TOKENS


def serve(tagger: Loaded, requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer one request after the other until `requests` ends."""
    while (body := read_frame(requests)) is not None:
        request = msgspec.msgpack.decode(body, type=Request)
        try:
            reply = answer(tagger, request)
        except Exception as error:  # noqa: BLE001 - the parent finds out which text it was
            reply = Reply(request.id, error=Failure(type(error).__name__, str(error)[:500]))
        send(replies, reply)


def answer(tagger: Loaded, request: Request) -> Reply:
    """The tags, and where the time went: what a classifier of somebody else does is all `model`."""
    stages = tagger.stages if isinstance(tagger, Tagger) else Stages()
    stages.taken()  # of a request that failed, or of the plain sentences
    begun_s = time.perf_counter()
    tags = tagger.tag(request.texts)
    taken = stages.taken()
    rest = "heads" if taken else "model"
    return Reply(request.id, tags, seconds=taken | {rest: time.perf_counter() - begun_s - sum(taken.values())})


def send(stream: BinaryIO, message: msgspec.Struct) -> None:
    stream.write(frame(message))
    stream.flush()


if __name__ == "__main__":
    sys.exit(main())
