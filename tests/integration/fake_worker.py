"""A model process without a model, for test_model_crashes.py: it does what its texts tell it to."""

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
    send(out, Hello("fake-1", [], [], [], "ok"))
    while (body := read_frame(sys.stdin.buffer)) is not None:
        request = msgspec.msgpack.decode(body, type=Request)
        words = {text.text for text in request.texts}
        if "kill" in words:
            os._exit(7)
        if "hang" in words:
            time.sleep(60)
        if "noise" in words:
            out.write(b"a stray line of some library\n")
        failure = Failure("ValueError", "a text of doom") if "fail" in words else None
        time.sleep(0.02 * ("slow" in words))
        send(out, Reply(request.id, [] if failure else [answer(text.whole) for text in request.texts], failure))


def send(out, message):
    out.write(frame(message))
    out.flush()


main()
