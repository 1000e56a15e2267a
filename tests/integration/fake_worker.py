"""A model process without a model, for test_model_crashes.py: it does what its texts tell it to."""

import math
import os
import sys
import time

import msgspec

from models.scripted import answer
from models.tags import Failure, Hello, Reply, Request, frame, read_frame


def main():
    out = sys.stdout.buffer
    if "refuse" in sys.argv[1]:
        send(out, Failure("BrokenModel", "the labels are out of order"))
        return
    if "die" in sys.argv[1]:
        print("cannot map memory", file=sys.stderr)
        sys.exit(9)
    send(out, Hello("fake-1"))
    while (body := read_frame(sys.stdin.buffer)) is not None:
        request = msgspec.msgpack.decode(body, type=Request)
        words = {text.text for text in request.texts}
        if "leave" in words:
            send(out, Reply(request.id, [said(text, insane=False) for text in request.texts]))
            print("no memory left", file=sys.stderr, flush=True)
            os._exit(7)
        if "kill" in words:
            os._exit(7)
        if "hang" in words:
            time.sleep(60)
        if "progress" in words:
            print("reading " * 200_000, end="\r", file=sys.stderr, flush=True)
        if "noise" in words:
            out.write(b"a stray line of some library\n")
        failure = Failure("ValueError", "a text of doom") if "fail" in words else None
        if "greedy" in words and len(words) > 2:
            failure = Failure("RuntimeError", "out of memory")
        time.sleep(0.02 * ("slow" in words))
        tags = [] if failure else [said(text, insane="insane" in sys.argv[1]) for text in request.texts]
        if "short" in words:
            tags.pop()
        send(out, Reply(request.id, tags, failure, {"model": 0.001}))


def said(text, insane):
    tag = answer(text.whole, text.spans)
    return msgspec.structs.replace(tag, negative=math.nan) if insane or text.text == "nan" else tag


def send(out, message):
    out.write(frame(message))
    out.flush()


main()
