"""The model process: `python -m models.worker MODEL`, frames in, frames out; its other end is tagger.py.

It owns the weights and nothing else: no Kafka, no Redis, no settings. It says hello when the model has passed its
sanity check, answers one request at a time, and ends when its standard input closes. Frames: tags.py.
"""

import os
import sys
from contextlib import suppress
from typing import BinaryIO

import msgspec
import torch

from groundswell.errors import Misconfigured
from models import loading
from models.loading import Loaded
from models.tags import Failure, Hello, Reply, Request, frame, read_frame

STOP = 2  # the exit status of something only a person can put right


def main() -> int:
    # The frames get the real standard output; whatever else prints goes to the log.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        tagger = loading.load(sys.argv[1])
    except Misconfigured as error:
        send(out, Failure(type(error).__name__, str(error), error.remedy))
        return STOP
    config = tagger.config
    send(out, Hello(config.version, config.sentiments, config.topics, list(config.languages), "ok"))
    with suppress(BrokenPipeError):  # the parent went away: so do we
        serve(tagger, sys.stdin.buffer, out)
    return 0


def serve(tagger: Loaded, requests: BinaryIO, replies: BinaryIO) -> None:
    """Answer one request after the other until `requests` ends."""
    while (body := read_frame(requests)) is not None:
        request = msgspec.msgpack.decode(body, type=Request)
        try:
            reply = Reply(request.id, tagger.tag(request.texts))
        except Exception as error:  # noqa: BLE001 - the parent finds out which text it was
            reply = Reply(request.id, error=Failure(type(error).__name__, str(error)[:500]))
        send(replies, reply)


def send(stream: BinaryIO, message: msgspec.Struct) -> None:
    stream.write(frame(message))
    stream.flush()


if __name__ == "__main__":
    sys.exit(main())
