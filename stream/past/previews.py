"""Previews for people: the past of this installation played with other settings or rules, in a child process, one at a time.

A back-test takes a core for seconds to minutes, so it never runs where pages are served: `groundswell backtest` does it, at low priority
and with a deadline, and ends with the process that asked. What was found is cut to what a page shows and set beside what was really told.
"""

import asyncio
import os
import signal
import tempfile
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from redis.exceptions import RedisError

from groundswell import times
from groundswell.asked_tuning import EVERYTHING, AskedPreview, AskedRulePreview, Preview
from groundswell.clients.connect import RedisClient
from groundswell.clock import Clock
from groundswell.errors import BadRule, Refused, WrongShape
from groundswell.keys import Keys
from groundswell.telemetry import log
from groundswell.text import safe
from stream.detection.list_desk import ListDesk
from stream.rulebook.rule_desk import RuleDesk

DEADLINE_S = 120.0
DAY_MS = 86_400_000
MOST_DAYS = 30.0
MOST_VALUES = 4
TOP = 20  # episodes of a setting that are shown: the strongest
KEPT = 16  # previews that can still be asked for
SAME_MS = 600_000  # a question that was asked so recently is not asked again
SAME_SURGE_MS = 3_600_000  # what fired within an hour of an alert of the subject is what that alert told
MOST_BYTES = 64 * 1024 * 1024  # of what a child may answer
READ_AT_ONCE = 50
RANK = {"critical": 0, "warning": 1, "notice": 2}


class PreviewBusy(Refused):
    """Another preview is being made."""

    reason = "preview_busy"
    remedy = "Wait until it is done, or stop it."


class NoSuchPreview(Refused):
    """There is no preview of this id, or it was made too long ago."""

    reason = "no_such_preview"
    remedy = "Ask for a new one."


class _Rule(Struct):
    id: str
    bounded: bool = True


class _Subject(Struct):
    id: str


class _Data(Struct):
    episode_id: str
    detected_at: str
    rule: _Rule
    subject: _Subject
    test: bool = False


class _Event(Struct):
    data: _Data


class _View(Struct):
    event: _Event


_views = msgspec.json.Decoder(_View)
_Wanted = Callable[[_Data], bool]


@dataclass
class _Run:
    preview: Preview
    question: bytes
    task: asyncio.Task[None] | None = None


class Previews:
    """`command` runs groundswell, `environment` is what its child sees: the addresses and settings of this process."""

    def __init__(
        self, clock: Clock, redis: RedisClient, keys: Keys, rules: RuleDesk, lists: ListDesk,
        *, command: Sequence[str], environment: Mapping[str, str], deadline_s: float = DEADLINE_S,
    ) -> None:  # fmt: skip
        self._clock, self._redis, self._keys, self._rules, self._lists = clock, redis, keys, rules, lists
        self._command, self._environment, self._deadline_s = tuple(command), dict(environment), deadline_s
        self._runs: dict[str, _Run] = {}

    async def of_sensitivities(self, asked: AskedPreview, now_ms: int) -> Preview:
        """How often each of these would have fired in the days before `now_ms`. Raises BadSensitivity, NoSuchList, NoSuchSubject,
        WrongShape, PreviewBusy."""
        days = _days(asked.days)
        if not 0 < len(asked.values) <= MOST_VALUES:
            raise WrongShape(
                f"{len(asked.values)} values.", remedy=f"Give 1 to {MOST_VALUES} to set beside each other."
            )
        about, subjects, words = await self._lists.asked(asked.about, asked.values)
        arguments = ["--sensitivity", words[0]]
        for word in words[1:]:
            arguments += ["--against", word]
        if about != EVERYTHING:
            arguments += ["--about", about]

        def wanted(data: _Data) -> bool:
            return data.rule.bounded and (about == EVERYTHING or data.subject.id in subjects)

        return self._begin({"about": about, "values": words, "days": days}, arguments, {}, now_ms, wanted)

    async def of_rules(self, asked: AskedRulePreview, now_ms: int) -> Preview:
        """How often these rules would have fired in the days before `now_ms`. Raises BadRule, NoSuchRule, WrongShape, PreviewBusy."""
        days = _days(asked.days)
        text = self._rules.text(asked.id) if asked.id and not asked.text else asked.text
        found = await self._rules.check(text)
        if not found.ok:
            first = found.errors[0]
            raise BadRule(f"line {first.line}", first.key, first.title, first.remedy)
        ids = {rule.id for rule in found.rules}
        about = {"rules": sorted(ids), "days": days}
        return self._begin(
            about, ["--rules", "rules.toml"], {"rules.toml": text}, now_ms, lambda data: data.rule.id in ids
        )

    def get(self, preview_id: str) -> Preview:
        """How far it is, or what it found. Raises NoSuchPreview."""
        run = self._runs.get(preview_id)
        if run is None:
            raise NoSuchPreview(f"There is no preview {safe(preview_id, 40)!r}.")
        return run.preview

    async def stop(self, preview_id: str) -> Preview:
        """End it, if it still runs. Raises NoSuchPreview."""
        preview = self.get(preview_id)
        run = self._runs[preview_id]
        if run.task is not None and not run.task.done():
            run.task.cancel()
            with suppress(asyncio.CancelledError):
                await run.task
        if preview.state == "running":  # cancelled before its first step
            preview.state = "stopped"
        return preview

    async def close(self) -> None:
        """End what runs."""
        for preview_id in list(self._runs):
            await self.stop(preview_id)

    # -- one run ------------------------------------------------------------------------------------------------------

    def _begin(
        self, about: dict[str, Any], arguments: Sequence[str], files: Mapping[str, str], now_ms: int, wanted: _Wanted
    ) -> Preview:
        question = msgspec.json.encode([about, files], order="sorted")
        started_ms = self._clock.now_ms()
        for run in self._runs.values():
            fresh = run.preview.state == "done" and started_ms - run.preview.started_at < SAME_MS
            if run.question == question and (fresh or run.preview.state == "running"):
                return run.preview
        if any(run.preview.state == "running" for run in self._runs.values()):
            raise PreviewBusy
        preview = Preview(id=f"pre_{uuid.uuid4().hex[:16]}", state="running", about=about, started_at=started_ms)
        run = _Run(preview, question)
        self._runs[preview.id] = run
        while len(self._runs) > KEPT:
            del self._runs[next(iter(self._runs))]
        span = ["--from", times.rfc3339(now_ms - round(about["days"] * DAY_MS)), "--until", times.rfc3339(now_ms)]
        run.task = asyncio.create_task(self._until_done(run, [*span, *arguments], files, wanted), name="preview")
        return preview

    async def _until_done(self, run: _Run, arguments: Sequence[str], files: Mapping[str, str], wanted: _Wanted) -> None:
        preview = run.preview
        try:
            async with asyncio.timeout(self._deadline_s):
                out = await self._child(run, arguments, files)
                if preview.problem is None:
                    raw = await asyncio.to_thread(msgspec.json.decode, out)
                    told = await self._told(times.parse_ms(raw["from"]), times.parse_ms(raw["until"]), wanted)
                    preview.found = shown(raw, told, preview.about["days"], only_rules="rules" in preview.about)
            preview.state, preview.share = ("failed", preview.share) if preview.problem else ("done", 1.0)
        except TimeoutError:
            remedy = "Ask for fewer days, or for one list or subject."
            _failed(preview, "too_slow", f"It was not done within {self._deadline_s:g} s.", remedy)
        except asyncio.CancelledError:
            preview.state = "stopped"
            raise
        except Exception as error:  # noqa: BLE001 - an edge: a preview that fails for any reason says so and hurts nothing else
            log().warning("preview_failed", error=repr(error)[:300])
            _failed(preview, "preview_failed", "The preview failed.", "The log of this process says why.")

    async def _child(self, run: _Run, arguments: Sequence[str], files: Mapping[str, str]) -> bytes:
        """What it wrote; it is gone when this returns or raises."""
        with tempfile.TemporaryDirectory(prefix="groundswell-") as folder:
            for name, text in files.items():
                await asyncio.to_thread(Path(folder, name).write_text, text, "utf-8")
            named = [str(Path(folder, one)) if one in files else one for one in arguments]
            process = await asyncio.create_subprocess_exec(
                *self._command, "backtest", *named, "--json", "--progress", env=self._environment, start_new_session=True,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            assert process.stdout is not None
            assert process.stderr is not None
            try:
                out, _ = await asyncio.gather(_whole(process.stdout), _follow(process.stderr, run.preview))
                if await process.wait() and run.preview.problem is None:
                    _failed(run.preview, "preview_failed", "The preview failed.", "The log of this process says why.")
                return out
            finally:
                if process.returncode is None:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    await process.wait()

    async def _told(self, from_ms: int, until_ms: int, wanted: _Wanted) -> list[_Data] | None:
        """What really fired then, as far as it is listed. None: Redis is away, which costs the comparison, not the preview."""
        try:
            names: Any = await self._redis.zrangebyscore(self._keys.alerts, from_ms, "+inf")
            found: list[_Data] = []
            for start in range(0, len(names), READ_AT_ONCE):
                keys = [self._keys.alert(name.decode()) for name in names[start : start + READ_AT_ONCE]]
                found += await asyncio.to_thread(_decoded, await self._redis.mget(keys))
        except (RedisError, OSError, TimeoutError) as error:
            log().warning("told_unread", error=type(error).__name__)
            return None
        return [
            one for one in found
            if not one.test and wanted(one) and from_ms <= times.parse_ms(one.detected_at) < until_ms
        ]  # fmt: skip


def shown(raw: dict[str, Any], told: Sequence[_Data] | None, asked_days: float, *, only_rules: bool) -> dict[str, Any]:
    """What a page shows of a back-test (`groundswell backtest --json`), beside what was told: `told` is null where nobody knows. Times are
    epoch milliseconds."""
    settings = raw["settings"][-1:] if only_rules else raw["settings"]
    fired_on = Counter(one.detected_at[:10] for one in told or ())
    by_day = {day: fired_on[day] for day in settings[0]["by_day"]}
    return {
        "from": times.parse_ms(raw["from"]), "until": times.parse_ms(raw["until"]), "asked_days": asked_days,
        **{name: raw[name] for name in ("days", "warm_up_days", "warm_up_enough", "subjects", "seconds")},
        "settings": [_setting(one, told or (), by_rule=only_rules) for one in settings],
        "told": None if told is None else {"fired": len(told), "by_day": by_day},
    }  # fmt: skip


def _setting(one: dict[str, Any], told: Sequence[_Data], *, by_rule: bool) -> dict[str, Any]:
    strongest = sorted(
        one["episodes"], key=lambda each: (RANK.get(each["severity"], 9), -each["effect"], each["fired"])
    )
    fields = (
        "name",
        "budget_a_day",
        "fired",
        "fired_a_day",
        "by_day",
        "minutes_to_fire",
        "minutes",
        "severity",
        "held",
    )
    return {
        **{name: one[name] for name in fields},
        "by_rule": dict(Counter(each["rule"] for each in one["episodes"])) if by_rule else {},
        "episodes": [
            _episode(each, told) for each in sorted(strongest[:TOP], key=lambda each: each["fired"], reverse=True)
        ],
    }


def _episode(one: dict[str, Any], told: Sequence[_Data]) -> dict[str, Any]:
    at_ms = times.parse_ms(one["fired"])
    same = (each for each in told if each.subject.id == one["subject"])
    alert = next(
        (each.episode_id for each in same if abs(times.parse_ms(each.detected_at) - at_ms) <= SAME_SURGE_MS), ""
    )
    fields = ("subject", "minutes", "severity", "effect", "negatives", "expected", "rule")
    return {
        **{name: one[name] for name in fields},
        "names": one["name"], "at": at_ms, "said": safe(one["said"], 200), "alert": alert,
    }  # fmt: skip


def _days(asked: float) -> float:
    if not 0.04 <= asked <= MOST_DAYS:
        raise WrongShape(f"days={asked:g} cannot be.", remedy=f"Ask for an hour to {MOST_DAYS:g} days.")
    return asked


def _failed(preview: Preview, reason: str, title: str, remedy: str) -> None:
    preview.state, preview.problem = "failed", {"reason": reason, "title": title, "remedy": remedy}


async def _whole(stream: asyncio.StreamReader) -> bytes:
    """Everything, up to MOST_BYTES; what says more than that is refused."""
    found = bytearray()
    while chunk := await stream.read(65_536):
        found += chunk
        if len(found) > MOST_BYTES:
            raise WrongShape("The answer is too long.", remedy="Ask for fewer days.")
    return bytes(found)


async def _follow(stream: asyncio.StreamReader, preview: Preview) -> None:
    """Lines of progress, and the problem that ended it; other lines are for the log."""
    async for line in stream:
        try:
            said = msgspec.json.decode(line)
            if "share" in said:
                preview.share = min(max(float(said["share"]), 0.0), 1.0)
            elif "problem" in said:
                preview.problem = {name: str(said["problem"][name]) for name in ("reason", "title", "remedy")}
        except (msgspec.DecodeError, TypeError, ValueError, KeyError):
            log().info("preview_said", line=safe(line.decode(errors="replace"), 300))


def _decoded(raw: Sequence[bytes | None]) -> list[_Data]:
    found = []
    for one in raw:
        with suppress(msgspec.DecodeError):
            if one:
                found.append(_views.decode(one).event.data)
    return found
