"""How far a back-test is: a bar for people, lines of JSON for the program that started it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
import msgspec

from groundswell import times
from groundswell.errors import GroundswellError

SHOW_EVERY_S = 0.1

Show = Callable[[int, float], None]  # the time of the data, and the share that is done


@contextmanager
def bar(*, quiet: bool) -> Iterator[Show]:
    """How far the time of the data has come."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        BarColumn(32),
        TaskProgressColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        task = progress.add_task("", total=1.0)
        last_s = 0.0

        def show(at_ms: int, share: float) -> None:
            nonlocal last_s
            now_s = time.monotonic()
            if now_s - last_s >= SHOW_EVERY_S:
                last_s = now_s
                progress.update(task, completed=share, description=times.rfc3339(at_ms)[:16])

        yield show


@contextmanager
def said_as_json() -> Iterator[Show]:
    """For the program that started this one: a line now and then with the share that is played, and the problem that ends it."""
    last_s = 0.0

    def show(_at_ms: int, share: float) -> None:
        nonlocal last_s
        now_s = time.monotonic()
        if now_s - last_s >= SHOW_EVERY_S:
            last_s = now_s
            click.echo(msgspec.json.encode({"share": round(share, 4)}), err=True)

    try:
        yield show
    except GroundswellError as error:
        problem = {"reason": error.reason, "title": str(error), "remedy": error.remedy}
        click.echo(msgspec.json.encode({"problem": problem}), err=True)
        raise
