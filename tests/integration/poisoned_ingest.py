"""`groundswell ingest` with a mistake of its own on some texts: it raises, ends the process, or never comes back.

See test_ingest_poison.py.
"""

import os
import re
import sys
from typing import Any

from groundswell import cli
from stream import ingest_work

_take = ingest_work.take


def take(value: bytes | None, *where: Any) -> Any:
    said = value or b""
    if b"raises" in said:
        raise ValueError("a text it cannot bear")
    if b"kills" in said:
        os._exit(137)
    if b"hangs" in said:
        re.match(r"(a+)+$", "a" * 64 + "b")  # for years, and no other thread gets a turn
    return _take(value, *where)


if __name__ == "__main__":
    ingest_work.take = take
    sys.argv = ["groundswell", "ingest"]
    cli.main()
