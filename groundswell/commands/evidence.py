"""`groundswell evidence`: look at what an alert stands on, decide it once more, hand it to others signed, check what was handed over.

Redis keeps the frozen records beside each alert (relay.py); a file that was exported needs neither Redis nor Kafka. evidence_view.py has
the words, groundswell/evidence_export.py the file, stream/detection/evidence.py the record.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from groundswell import times
from groundswell.clients.connect import RedisClient, open_redis
from groundswell.commands.desk import json_option, print_json
from groundswell.commands.processes import the_settings, topology_of
from groundswell.commands.spoken import lang_option, tongue
from groundswell.errors import BadSetting, BrokenEvidence, GroundswellError, NoSecretKey, NoSuchEpisode, RedisAway
from groundswell.evidence_export import (
    FORMAT,
    MOST_BYTES,
    Exported,
    Told,
    read,
    sealed,
    shown,
    signing_keys,
    verified,
)
from groundswell.keys import Keys
from groundswell.records import AlertView
from groundswell.running import runfile
from groundswell.text import safe

AT_ONCE = 20  # alerts looked through in one read

key_option = click.option("--key", "expected", default="", help="The public key it must be signed with: gwpk_…")


@click.group()
def evidence() -> None:
    """What an alert stands on: show it, decide it again, export it signed, verify such a file."""


@evidence.command()
@click.argument("name", metavar="ID|EPISODE|FILE")
@lang_option
@json_option
@click.pass_context
def show(ctx: click.Context, name: str, lang: str | None, as_json: bool) -> None:
    """Show the record of one event (gw_…), or of an episode (ep_…): its course, and its newest record in full."""
    from groundswell.commands.evidence_view import lines, passed, spans
    from groundswell.evidence_words import WORDS

    found = _found(ctx, name)
    if as_json:
        print_json({"episode": found.episode, "subject": found.subject, "transitions": found.transitions})
        return
    said, newest = tongue(ctx, lang), found.transitions[-1]
    words = WORDS[said]
    click.echo(f"{safe(found.subject, 80)}  {safe(found.episode, 60)}")
    _table([words[one] for one in ("at", "what", "negatives", "expected", "severity", "event")],
           [passed(one, said) for one in found.transitions])  # fmt: skip
    rows = spans(newest)
    if rows:
        click.echo()
        _table([words[one] for one in ("span", "negatives", "expected", "band", "mentions", "reach")], rows)
    click.echo()
    _table(None, lines(newest, said))


@evidence.command()
@click.argument("name", metavar="ID|EPISODE|FILE")
@json_option
@click.pass_context
def replay(ctx: click.Context, name: str, as_json: bool) -> int:
    """Decide it once more on the frozen inputs. Exit status 0: identical; 1: something differs, the first of it is named.

    An episode's transitions are decided one by one. FILE is an exported one, or what `show --json` printed; its signature is not looked
    at, that is `verify`.
    """
    found = _found(ctx, name)
    answers = [(one, _again(one)) for one in found.transitions]
    wrong = [one for one in answers if one[1]]
    if as_json:
        told = [{"event": one.event, "type": one.type, "at": one.at, "differs": differs} for one, differs in answers]
        print_json({"identical": not wrong, "transitions": told})
        return 1 if wrong else 0
    for one, differs in answers:
        click.echo(f"{safe(one.at, 30)}  {safe(one.event, 60)}  {safe(differs, 400) if differs else 'identical'}")
    return 1 if wrong else 0


@evidence.command()
@click.argument("name", metavar="ID|EPISODE")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The file to write.")
@json_option
@click.pass_context
def export(ctx: click.Context, name: str, output: Path, as_json: bool) -> None:
    """Write the records to a file that others can verify, signed with this installation's evidence key."""
    settings = runfile.joined(the_settings(ctx))
    key = signing_keys(settings.secret_key)[0]
    found = _stored(ctx, name)
    try:
        output.write_bytes(sealed(found, key))
    except OSError as error:
        raise BadSetting(
            f"{output} cannot be written: {error.strerror}.", remedy="Name a file in a folder of yours."
        ) from error
    if as_json:
        print_json(
            {"file": str(output), "episode": found.episode, "transitions": len(found.transitions), "key": shown(key)}
        )
        return
    click.echo(f"{output}: {len(found.transitions)} records of {safe(found.episode, 60)}, signed with {shown(key)}.")
    click.echo("Who gets it needs that key by another way, then: groundswell evidence verify FILE --key KEY")


@evidence.command()
@click.argument("file", type=click.Path(path_type=Path))
@key_option
@json_option
@click.pass_context
def verify(ctx: click.Context, file: Path, expected: str, as_json: bool) -> int:
    """Check an exported FILE, without Redis or Kafka. Exit status 0: it is what was signed; 1: it is not, with what is wrong.

    Without --key it says which key signed. Anybody can make a key: only who got it by another way knows whose it is.
    """
    raw = _bytes(file)
    try:
        found, key = verified(raw, expected)
    except BrokenEvidence as error:
        hint = _first_difference(raw)
        if as_json:
            print_json({"verified": False, "wrong": str(error), "differs": hint})
        else:
            click.echo(f"NO  {safe(str(error), 400)} {error.remedy}")
            if hint:
                click.echo(f"    Decided again, this differs first: {safe(hint, 400)}")
        return 1
    whose = "given" if expected else _whose(ctx, key)
    if as_json:
        print_json({
            "verified": True, "key": key, "whose": whose, "episode": found.episode, "subject": found.subject,
            "installation": found.installation, "exported_at": found.exported_at, "transitions": len(found.transitions),
        })  # fmt: skip
        return 0
    click.echo(
        f"OK  {len(found.transitions)} records of {safe(found.episode, 60)} about {safe(found.subject, 80)}, exported "
        f"{safe(found.exported_at, 30)} by {safe(found.installation, 64)}, are what was signed."
    )
    click.echo(f"    Signed with {key}: {_WHOSE[whose]}")
    return 0


@evidence.command()
@json_option
@click.pass_context
def key(ctx: click.Context, as_json: bool) -> None:
    """The public keys that verify this installation's exports: the one in use first.

    They follow from GROUNDSWELL_SECRET_KEY, so a new secret key makes a new evidence key. What was signed before stays good: keep the
    public keys that you have passed on.
    """
    keys = [shown(one) for one in signing_keys(_secret(ctx))]
    if as_json:
        print_json({"key": keys[0], "earlier": keys[1:]})
        return
    click.echo(keys[0])
    for one in keys[1:]:
        click.echo(f"{one}  (earlier)")


_WHOSE = {
    "given": "the key that was given.",
    "ours": "the key of this installation.",
    "earlier": "an earlier key of this installation.",
    "unknown": "compare it with the one that its owner shows by `groundswell evidence key`.",
}


# -- where records are ------------------------------------------------------------------------------------------------


def _found(ctx: click.Context, name: str) -> Exported:
    """From a file of this name, else from Redis. Raises NoSuchEpisode, BrokenEvidence, RedisAway."""
    path = Path(name)
    if not path.is_file():
        return _stored(ctx, name)
    raw = _bytes(path)
    try:
        shown_before = msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return read(raw)  # two lines: exported
    return _of_json(shown_before)


def _of_json(found: Any) -> Exported:
    """What `show --json` printed, or a record by itself."""
    if isinstance(found, dict) and "transitions" in found:
        found = {"installation": "", "exported_at": "", **found, "format": FORMAT}
    elif isinstance(found, dict) and "inputs" in found:
        about = {name: str(found.get(name, "")) for name in ("episode", "subject")}
        told = {"event": about["episode"], "type": str(found.get("transition", "")), "at": "", "evidence": found}
        found = {"installation": "", "exported_at": "", **about, "transitions": [told]}
    try:
        made = msgspec.convert(found, Exported)
    except msgspec.ValidationError as error:
        raise BrokenEvidence(f"The file holds no evidence: {error}.", remedy="Name an exported file.") from error
    if not made.transitions:
        raise BrokenEvidence("The file holds no transition.", remedy="Name an exported file.")
    return made


def _stored(ctx: click.Context, name: str) -> Exported:
    settings = runfile.joined(the_settings(ctx))
    keys = Keys(topology_of(settings).prefix)

    async def look() -> AlertView | None:
        redis = await open_redis(settings)
        try:
            return await _view(redis, keys, name)
        finally:
            await redis.aclose()

    view = asyncio.run(look())
    told = transitions(view) if view is not None else []
    if name.startswith("gw_"):
        told = [one for one in told if one.event == name]
    if view is None or not told:
        raise NoSuchEpisode(f"There is no evidence of {safe(name, 80)}.", remedy=_WHERE)
    return Exported(
        installation=keys.namespace, exported_at=times.rfc3339(_now_ms()), episode=view.episode, subject=view.subject, transitions=told,
    )  # fmt: skip


_WHERE = (
    "`groundswell alerts` lists episodes; what is older than 90 days, or beyond the newest 2,000, is kept no longer."
)


async def _view(redis: RedisClient, keys: Keys, name: str) -> AlertView | None:
    """The episode of this id, or the one that has an event of this id. Raises RedisAway."""
    from redis.exceptions import RedisError

    from groundswell import alert_views

    if not name.startswith("gw_"):
        return await alert_views.one(redis, keys, name)
    try:
        episodes = [one.decode() for one in await redis.zrevrange(keys.alerts, 0, -1)]
        for at in range(0, len(episodes), AT_ONCE):
            for raw in await redis.mget([keys.alert(one) for one in episodes[at : at + AT_ONCE]]):
                view = alert_views.decoded(raw) if raw and name.encode() in raw else None
                if view is not None and name in view.evidence:
                    return view
    except RedisError as error:
        raise RedisAway(f"Looking for evidence failed: {error!r}.") from error
    return None


def transitions(view: AlertView) -> list[Told]:
    """An episode's records in the order they were told."""
    known = {str(line.get("id")): line for line in view.timeline if line.get("id")}
    order: Sequence[str] = [
        *(event for event in known if event in view.evidence),
        *(view.evidence.keys() - known.keys()),
    ]
    return [
        Told(
            event=event, evidence=view.evidence[event], at=str(known.get(event, {}).get("at", "")),
            type=str(known.get(event, {}).get("type", "") or view.evidence[event].get("transition", "")),
        )
        for event in order if isinstance(view.evidence[event], dict)
    ]  # fmt: skip


# -- small things -----------------------------------------------------------------------------------------------------


def _again(one: Told) -> str:
    """Empty when it comes out the same."""
    import numpy as np

    from stream.detection.evidence import replay as decide

    if "conditions" in one.evidence and "inputs" not in one.evidence:
        return "a rule of your own decided it: the record has its values, the texts behind them are not kept"
    try:
        with np.errstate(all="ignore"):  # numbers of a file from elsewhere may be anything
            return decide(one.evidence) or ""
    except (GroundswellError, ValueError, TypeError, LookupError, ArithmeticError, AssertionError) as error:
        return f"it is no record that could be decided: {type(error).__name__}: {error}"


def _first_difference(raw: bytes) -> str:
    """Of a file whose signature does not hold: what no longer follows from its own inputs."""
    try:
        found = read(raw)
    except BrokenEvidence:
        return ""
    return next((f"{one.event}: {differs}" for one in found.transitions if (differs := _again(one))), "")


def _whose(ctx: click.Context, key: str) -> str:
    try:
        ring = [shown(one) for one in signing_keys(_secret(ctx))]
    except NoSecretKey:
        return "unknown"
    return "ours" if key == ring[0] else "earlier" if key in ring else "unknown"


def _secret(ctx: click.Context) -> str:
    """The secret key as set, else that of the `up` that runs here; no service is asked."""
    settings = the_settings(ctx)
    running = None if settings.secret_key else runfile.read(settings)
    return running.secret_key if running is not None else settings.secret_key


def _bytes(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise BadSetting(f"{file} cannot be read: {error.strerror}.", remedy="Name a file.") from error


def _table(heads: Sequence[str] | None, rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table

    from groundswell.terminal import out

    table = Table(*(heads or ("", "")), box=None, show_header=heads is not None)
    before = ""
    for row in rows:
        repeated = heads is None and row[0] == before
        table.add_row(*(["", *row[1:]] if repeated else row))
        before = row[0]
    out().print(table, markup=False, highlight=False, emoji=False)


def _now_ms() -> int:
    from groundswell.clock import SystemClock

    return SystemClock().now_ms()
