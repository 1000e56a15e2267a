"""`groundswell tag` with a model that fails on some texts: raises, ends the process, or never answers; see test_poison.py."""

import asyncio
import os
import sys
from collections.abc import Sequence
from typing import Any

from groundswell import cli
from groundswell.commands import processes
from groundswell.tagging import Tag, Text
from models.scripted import ScriptedModel


class Poisoned(ScriptedModel):
    """Scripted, but for three words."""

    async def tag(self, texts: Sequence[Text], **where: Any) -> list[Tag | None]:
        said = " ".join(text.text for text in texts)
        if "raises" in said:
            raise ValueError("a text it cannot bear")
        if "kills" in said:
            os._exit(137)
        if "hangs" in said:
            await asyncio.Event().wait()
        return await super().tag(texts, **where)


if __name__ == "__main__":
    processes.the_model = lambda _settings: Poisoned()  # type: ignore[assignment]
    sys.argv = ["groundswell", "tag"]
    cli.main()
