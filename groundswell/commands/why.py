"""`groundswell why SUBJECT`: why it did not fire. Takes what the detector knows from Redis; stream/detection/why.py decides.

What is asked about the past is judged by what is known now: the detector keeps its knowledge, not its history.
"""

import asyncio
import difflib
from typing import TYPE_CHECKING

import click
from msgspec import Struct

from groundswell import times
from groundswell.clients.connect import RedisClient, open_redis
from groundswell.commands.backtest import in_force
from groundswell.commands.desk import json_option, print_json
from groundswell.commands.processes import the_settings, topology_of
from groundswell.commands.spoken import lang_option, tongue
from groundswell.errors import BadSetting, NoSuchSubject, RedisAway
from groundswell.keys import Keys
from groundswell.records import AlertView
from groundswell.running import runfile
from groundswell.settings import Settings
from groundswell.text import safe

if TYPE_CHECKING:
    from stream.detection.policy import Policy
    from stream.detection.why import Why
    from stream.names.directory import Directory
    from stream.topology import Topology

KEPT_MS = 7 * 86_400_000  # of minutes in Redis, with a day to spare
NEAR = 3


class Answer(Struct, kw_only=True, frozen=True):
    """What was found. `why` None: it was never mentioned. `fired`: the episode that was open at that moment, if one was; then that is
    the answer. `rebuilding`: counts are being restored, and alerts wait."""

    subject: str
    names: dict[str, str]
    at: str
    known_until: str = ""
    why: "Why | None" = None
    fired: str = ""
    rebuilding: bool = False


@click.command()
@click.argument("subject")
@click.option("--at", "moment", help="When: 2h for two hours ago, or 2026-11-21T18:00:00+08:00. Default: now.")
@lang_option
@json_option
@click.pass_context
def why(ctx: click.Context, subject: str, moment: str | None, lang: str | None, as_json: bool) -> None:
    """Why SUBJECT (an id, a symbol or a name) did not fire: counts, expectation, line, the first gate that said no, what was missing.

    Redis keeps a week of minutes. Of the past it is judged by what is known now, so a surge that was close then may look closer, or less
    close, than it did.
    """
    from groundswell.commands.why_words import sentences

    found = asyncio.run(_asked(runfile.joined(the_settings(ctx)), subject, moment))
    if as_json:
        print_json(found)
        return
    for line in sentences(found, tongue(ctx, lang)):
        click.echo(line)


async def _asked(settings: Settings, subject: str, moment: str | None) -> Answer:
    from alerts.people.wants import past_ms
    from groundswell.clock import SystemClock
    from stream.detection import lines
    from stream.names.directory import directory_of

    topology, directory = topology_of(settings), directory_of(settings)
    known = resolved(directory, subject)
    at_ms = past_ms(moment, SystemClock().now_ms()) if moment is not None else None
    view = await in_force(settings, topology)
    policy = lines.policy(settings, directory, view.watchlists.values(), view.sensitivities.values())
    redis = await open_redis(settings)
    try:
        return await answer(redis, topology, directory, policy, known, at_ms)
    finally:
        await redis.aclose()


async def answer(
    redis: RedisClient, topology: "Topology", directory: "Directory", policy: "Policy", subject: str, at_ms: int | None
) -> Answer:
    """Of a step of one subject: the one that holds `at_ms`, or the next to close. Raises BadSetting for a moment of which nothing is
    kept, RedisAway."""
    from stream.detection.case import HISTORY_STEPS
    from stream.detection.detect import Detector
    from stream.detection.why import why as ask
    from stream.store import Store

    keys, partition = Keys(topology.prefix), topology.scored_partition(subject)
    store = Store(redis, keys, "")
    back_ms = HISTORY_STEPS * policy.step_ms
    loaded = await store.peek(partition, back_ms, only=subject)
    window, names = loaded.window, directory[subject].names
    start_ms = window.closed_ms if at_ms is None else at_ms // policy.step_ms * policy.step_ms
    at = times.rfc3339(start_ms)
    if not window.closed_ms or subject not in loaded.subjects:
        return Answer(
            subject=subject, names=names, at=at if window.closed_ms else "", rebuilding=loaded.rebuild is not None
        )
    if start_ms > window.closed_ms:
        raise BadSetting(
            f"The detector has come to {times.rfc3339(window.closed_ms)} only.",
            remedy="Ask about that minute or before.",
        )
    if start_ms < window.closed_ms - KEPT_MS + back_ms:
        raise BadSetting(
            f"Minutes before {times.rfc3339(window.closed_ms - KEPT_MS + back_ms)} are kept no longer.",
            remedy="`groundswell backtest --from TIME` counts the past again.",
        )
    if start_ms < window.closed_ms:
        loaded = await store.peek(partition, window.closed_ms - start_ms + back_ms, only=subject)
        window = loaded.window
    detector = Detector(policy, directory)
    detector.restore(loaded.subjects, loaded.state)
    detector.open_episodes, detector.cards, detector.echoes = loaded.open_episodes, loaded.cards, loaded.echoes
    decided_ms = start_ms + policy.step_ms + policy.lateness_ms
    last = detector.open_episodes.get(subject)
    if last is not None and last.fired_ms > decided_ms:
        del detector.open_episodes[subject]  # it had not begun
        last = None
    still = last.id if last is not None and last.state != "resolved" else ""
    fired = still or await _open_at(redis, keys, subject, decided_ms)
    found = ask(detector, window, subject, start_ms)
    return Answer(
        subject=subject, names=names, at=at, known_until=times.rfc3339(window.closed_ms), why=found, fired=fired,
        rebuilding=loaded.rebuild is not None,
    )  # fmt: skip


async def _open_at(redis: RedisClient, keys: Keys, subject: str, at_ms: int) -> str:
    """The detector's episode of a subject that was open at a moment and has ended since; empty when none was."""
    from redis.exceptions import RedisError

    from groundswell import alert_views
    from stream.detection.episodes import RULE

    def covers(view: AlertView) -> bool:
        data = view.event.data
        return (
            view.subject == subject and data.rule.id == RULE.id and times.parse_ms(data.detected_at) <= at_ms
            and data.resolved_at is not None and times.parse_ms(data.resolved_at) > at_ms
        )  # fmt: skip

    try:
        for name in await redis.zrangebyscore(keys.alerts, at_ms, "+inf"):  # by the newest event: its end
            raw = await redis.get(keys.alert(name.decode()))
            if raw and subject.encode() in raw:
                view = alert_views.decoded(raw)
                if view is not None and covers(view):
                    return view.episode
    except RedisError as error:
        raise RedisAway(f"Looking for alerts failed: {error!r}.") from error
    return ""


def resolved(directory: "Directory", asked: str) -> str:
    """The id of what is counted under an id, a symbol or a name. Raises NoSuchSubject with what is near."""
    there = directory.resolve(asked)
    if there is not None:
        return there
    wanted = asked.strip().casefold()
    called: dict[str, list[str]] = {}
    for subject in sorted(directory.ids):
        for name in {one.casefold() for one in directory.called(subject)}:
            called.setdefault(name, []).append(subject)
    same = called.get(wanted, [])
    if len(same) == 1:
        return same[0]
    close = difflib.get_close_matches(wanted, sorted(called), n=NEAR, cutoff=0.6)
    within = sorted(name for name in called if len(wanted) > 1 and wanted in name)
    near = same or [subject for name in close or within for subject in called[name]]
    said = [f"{safe(one, 60)} ({safe(directory[one].names.get('en', one), 60)})" for one in dict.fromkeys(near)][:NEAR]
    wrong = "names several subjects" if same else "is no subject that is counted"
    raise NoSuchSubject(f"{safe(asked, 80)!r} {wrong}.", remedy=f"Did you mean {' or '.join(said)}?" if said else "")
