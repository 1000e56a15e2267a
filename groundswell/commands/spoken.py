"""In which of the two languages a command speaks to people: --lang, else the locale's, else English."""

from typing import Literal

import click

Tongue = Literal["en", "zh"]
LOCALE = ("LC_ALL", "LC_MESSAGES", "LANG")

lang_option = click.option(
    "--lang", type=click.Choice(["en", "zh"]), help="Language of the words. Default: the locale's, else English."
)


def tongue(ctx: click.Context, asked: str | None) -> Tongue:
    """The first variable of the locale that is set decides, as in other programs."""
    environment = ctx.obj["environment"]
    found = asked or next((environment[name] for name in LOCALE if environment.get(name)), "")
    return "zh" if found.lower().startswith("zh") else "en"
