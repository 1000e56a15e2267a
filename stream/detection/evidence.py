"""The evidence record: why a transition was told, frozen, complete, at most 16 kB of JSON, and the replay that decides it once more.

`record` writes down what people and pages read, and under `inputs` all that the decision rested on: names that only had to be told apart
(stories, authors, sources) are numbered in their order, so a replay counts and breaks ties as the stream did. What is recomputed is
`_DECIDED`; what was only observed (mentions, documents, names) is quoted. Of more than 300 originals, or where 16 kB do not hold them, the
newest are kept, and a replay says that it cannot decide on all of them.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from groundswell.keys import MINUTE_MS
from groundswell.records import DocumentCard
from stream.detection import floors, surge, surge_reading
from stream.detection.cards import family
from stream.detection.case import MOST_STEPS, Case
from stream.detection.course import Judgement
from stream.detection.episodes import Episode, ranked
from stream.detection.judge import judge
from stream.detection.policy import Policy
from stream.detection.season import Slot
from stream.detection.single import Alone

VERSION = 1
MOST_BYTES = 16_000
MOST_CARDS, LEAST_CARDS = 300, 5
DOCUMENTS, PARTS = 10, 5
SPANS = {"1m": 1, "5m": 5, "15m": 15, "1h": 60}
NAME_LIMIT = 60
_DECIDED = (
    "bucket", "ln_m", "decision", "transition", "kind", "onset", "severity", "trend", "negatives", "expected_since_onset", "effect",
    "expected_per_step", "expected", "level", "profile", "share_p", "ratio", "phi15", "phi60", "z15", "floors", "leave_out", "fires_up_to",
    "state_hash",
)  # fmt: skip

Runs = dict[str, list[tuple[Any, int]]]


class Said(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The negative originals since the onset by time, in columns. Each number stands for a name, 0 for none, in the order of names."""

    step: list[int]
    story: list[int]
    family: list[int]
    author: list[int]
    source: list[int]
    news: list[int]
    topics: list[list[int]]
    about: list[list[int]] = []  # only of a topic or a market
    topic_names: list[str] = []
    left_out: int = 0  # older ones that found no room


class Inputs(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What the decision rested on. Slots are runs of one value: [value, how often]."""

    row: bytes  # of the detector before the step; base64
    settings: dict[str, Any] = {}  # that are not the default
    wide: bool = False
    drill: bool = False
    early: bool = False
    lateness_ms: int
    ln_h: float
    mentions: float
    slot: Runs
    slots: Runs
    counts: list[int]  # negatives, oldest step first
    heard: list[int] = []  # mentions; not at an early look, whose step is not all there
    said: Said
    episode: Episode | None = None  # before the step
    alone: Alone | None = None  # of the single-document rule


class Record(Struct, kw_only=True, frozen=True):
    """One transition. Times are epoch milliseconds of event time, evidence natural logarithms."""

    v: int = VERSION
    episode: str
    subject: str
    transition: str
    decision: str
    severity: str
    trend: str
    kind: str
    bucket: int
    bucket_open: bool  # an early look
    deciding_document: str  # of an early look: the one that crossed the line
    step_s: int
    during: str  # the scheduled event that it falls into, in a word
    onset: int
    ln_m: dict[str, float]  # combined; fast, slow, share before weighting
    ln_h: float
    mode: str
    budget: float  # false alarms a day over all subjects
    weight: float
    revision: str  # of the control objects in force
    observed: dict[str, dict[str, int]]  # span -> mentions, negatives, reach
    expected: dict[str, dict[str, float]]  # span -> negatives, low, high: the 5-95 % band
    negatives: int  # since the onset, as the next four
    expected_since_onset: float
    effect: dict[str, float]
    floors: dict[str, int]
    leave_out: dict[str, float]
    fires_up_to: float
    z15: float | None
    expected_per_step: float
    level: float  # negatives a minute
    profile: float
    share_p: float
    ratio: float
    phi15: float
    phi60: float
    slot: dict[str, Any]
    excess: float
    excess_by: dict[str, list[tuple[str, float]]]  # source, story, topic; each sums to the excess
    by_source: list[tuple[str, int]]
    by_language: list[tuple[str, int]]
    steps: list[int]  # negatives of the last hour's steps
    documents: list[dict[str, Any]]
    versions: dict[str, str]
    state_hash: str
    inputs: Inputs


def record(case: Case, judged: Judgement, policy: Policy, versions: dict[str, str]) -> dict[str, Any]:
    """The record of a transition, as JSON takes it."""
    kept = sorted(case.said(judged.onset_ms), key=lambda one: (one.published_at, one.id))
    room = min(len(kept), MOST_CARDS)
    made = _record(case, judged, policy, versions, kept, room)
    while room > LEAST_CARDS and len(msgspec.json.encode(made)) > MOST_BYTES:
        room = max(LEAST_CARDS, room * 3 // 4)
        made = _record(case, judged, policy, versions, kept, room)
    found: dict[str, Any] = msgspec.to_builtins(made)
    return found


def replay(given: Mapping[str, Any]) -> str | None:
    """Decide once more on the frozen inputs: None when all is identical, else the first field that differs, with both values.
    Raises msgspec.ValidationError for what is no record."""
    if given.get("v") != VERSION:
        return f"v: {given.get('v')!r} was frozen, {VERSION} is known"
    frozen = msgspec.convert(given, Record)
    if frozen.inputs.said.left_out:
        whole = len(frozen.inputs.said.step) + frozen.inputs.said.left_out
        return f"inputs.said: {len(frozen.inputs.said.step)} of {whole} originals were kept"
    case = _case(frozen)
    again = msgspec.to_builtins(_decided(case, judge(case)))
    for name in _DECIDED:
        before, now = given.get(name), again[name]
        if before != msgspec.json.decode(msgspec.json.encode(now)):
            return _difference(name, before, now)
    return None


def _difference(name: str, before: Any, now: Any) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        for part in sorted(before.keys() | now.keys()):
            if before.get(part) != now.get(part):
                return _difference(f"{name}.{part}", before.get(part), now.get(part))
    return f"{name}: {before!r} was frozen, {now!r} comes out"


# -- writing ----------------------------------------------------------------------------------------------------------


def _record(
    case: Case, judged: Judgement, policy: Policy, versions: dict[str, str], kept: Sequence[DocumentCard], room: int
) -> Record:
    measured = judged.measured
    assert measured is not None
    assert judged.episode is not None
    excess = round(measured.negatives - measured.expected, 2)
    best = sorted(kept, key=lambda one: (-one.negative, one.published_at, one.id))[:DOCUMENTS]
    return Record(
        **_decided(case, judged),
        episode=judged.episode.id, subject=case.subject, bucket_open=case.early,
        deciding_document=case.cards[-1].id if case.early and case.cards else "",
        step_s=case.settings.step_s, during=measured.during, ln_h=round(case.ln_h, 6), mode=policy.mode, budget=policy.budget,
        weight=round(policy.weight_of(case.subject), 6), revision=policy.revision,
        observed={
            name: {"mentions": int(case.heard[-n:].sum()), "negatives": int(case.counts[-n:].sum()), "reach": int(case.reach[-n:].sum())}
            for name, n in _spans(case)
        },
        slot={name: runs[0][0] for name, runs in _runs(case.slot).items()},
        excess=excess,
        excess_by={
            "source": _parts(excess, [[one.source] for one in kept]),
            "story": _parts(excess, [[family(one)[:NAME_LIMIT]] for one in kept]),
            "topic": _parts(excess, [one.topics for one in kept]),
        },
        by_source=ranked(Counter(one.source for one in kept))[:8],
        by_language=ranked(Counter(one.lang for one in kept))[:3],
        steps=[int(count) for count in case.counts[-60:]],
        documents=[
            {
                "id": one.id, "at": one.published_at, "source": one.source[:NAME_LIMIT], "story": one.story,
                "negative": round(one.negative, 4),
            }
            for one in best
        ],
        versions=versions,
        inputs=Inputs(
            row=surge.rows_to_bytes(case.row, 0), settings=_changed(case.settings), wide=case.wide, drill=case.drill, early=case.early,
            lateness_ms=case.lateness_ms, ln_h=case.ln_h, mentions=case.mentions, slot=_runs(case.slot),
            slots=_runs(case.slots), counts=[int(count) for count in case.counts],
            heard=[] if case.early else [int(count) for count in case.heard],
            said=_said(case, kept[len(kept) - room :], len(kept) - room), episode=_numbered(case.episode, kept),
            alone=case.alone,
        ),
    )  # fmt: skip


def _decided(case: Case, judged: Judgement) -> dict[str, Any]:
    """What a replay must find again."""
    weighed, measured, verdict = judged.weighed, judged.measured, judged.weighed.verdict
    channels = (
        {} if verdict is None else {name: getattr(verdict, f"ln_{name}")[0] for name in ("fast", "slow", "share")}
    )
    level, profile, share = surge.usual(case.row, case.slot, case.settings)
    ratio = judged.episode.ratio if judged.episode is not None else weighed.ratio
    stands = floors.standing(case.said(judged.onset_ms))
    return {
        "bucket": case.start_ms,
        "ln_m": {name: _six(value) for name, value in {"combined": weighed.ln_m, **channels}.items()},
        "decision": judged.decision.value,
        "transition": judged.tells or "",
        "kind": judged.episode.kind if judged.episode is not None else "",
        "onset": judged.onset_ms,
        "severity": measured.severity if measured else "",
        "trend": measured.trend if measured else "",
        "negatives": measured.negatives if measured else 0,
        "expected_since_onset": _six(measured.expected) if measured else 0.0,
        "effect": {"times": _six(measured.effect), "low": _six(measured.effect_low), "high": _six(measured.effect_high)}
        if measured
        else {},
        "expected_per_step": _six(weighed.steps.mu[-1]),
        "expected": {name: _band(case, judged, ratio, n) for name, n in _spans(case)},
        "level": _six(level[0]),
        "profile": _six(profile[0]),
        "share_p": _six(share[0]),
        "ratio": _six(ratio),
        "phi15": _six(weighed.phi15),
        "phi60": _six(weighed.phi60),
        "z15": None if judged.z15 is None else _six(judged.z15),
        "floors": {"stories": stands.stories, "authors": stands.authors, "publishers": stands.publishers},
        "leave_out": {part: _six(value) for part, value in (measured.leave_out if measured else {}).items()},
        "fires_up_to": measured.fires_up_to if measured else 0.0,
        "state_hash": _hash(case.row),
    }


def _spans(case: Case) -> list[tuple[str, int]]:
    """The spans that are whole steps, and that the case looks back over: name, number of steps."""
    found = [(name, minutes * MINUTE_MS) for name, minutes in SPANS.items()]
    return [
        (name, span_ms // case.step_ms)
        for name, span_ms in found
        if span_ms % case.step_ms == 0 and span_ms // case.step_ms <= len(case.counts)
    ]


def _band(case: Case, judged: Judgement, ratio: float, steps: int) -> dict[str, float]:
    mean = float(judged.weighed.steps.mu[-steps:].sum() * ratio)
    short = steps * case.step_ms <= 15 * MINUTE_MS
    low, high = surge_reading.band([mean], [judged.weighed.phi15 if short else judged.weighed.phi60])
    return {"negatives": _six(mean), "low": int(low[0]), "high": int(high[0])}


def _parts(excess: float, names: Sequence[Sequence[str]]) -> list[tuple[str, float]]:
    """The excess by name, in proportion to the originals, most first; what has no name and what is not listed is one part."""
    weight: dict[str, float] = {}
    for own in names:
        for name in own or [""]:
            weight[name] = weight.get(name, 0.0) + 1 / max(len(own), 1)
    order = sorted((name for name in weight if name), key=lambda name: (-weight[name], name))[:PARTS]
    parts = [(name, round(excess * weight[name] / len(names), 2)) for name in order]
    unlisted = len(weight) > len(order)
    return [*parts, ("", round(excess - sum(value for _, value in parts), 2))] if unlisted else parts


def _said(case: Case, cards: Sequence[DocumentCard], left_out: int) -> Said:
    stories, families = _numbers(one.story for one in cards), _numbers(family(one) for one in cards)
    authors, sources = _numbers(one.author for one in cards), _numbers(one.source for one in cards)
    topics = _numbers(topic for one in cards for topic in one.topics)
    companies = _numbers(company for one in cards for company in one.about)
    return Said(
        step=[case.step(one.published_at) for one in cards],
        story=[stories[one.story] for one in cards],
        family=[families[family(one)] for one in cards],
        author=[authors[one.author] for one in cards],
        source=[sources[one.source] for one in cards],
        news=[int(one.feed == "news") for one in cards],
        topics=[[topics[topic] for topic in one.topics] for one in cards],
        about=[[companies[company] for company in one.about] for one in cards] if case.wide else [],
        topic_names=sorted(topics.keys() - {""}),
        left_out=left_out,
    )


def _numbers(names: Iterable[str]) -> dict[str, int]:
    """Numbers in the order of names from 1 on; 0 is no name."""
    return {"": 0} | {name: i for i, name in enumerate(sorted(set(names) - {""}), 1)}


def _numbered(episode: Episode | None, cards: Sequence[DocumentCard]) -> Episode | None:
    """The story that people know, by its number in `Said`."""
    if episode is None:
        return None
    number = _numbers(family(one) for one in cards).get(episode.told_story, 0)
    story = _name(number) or ("known" if episode.told_story else "")
    # When a row arrived is shown, and decides nothing.
    return msgspec.structs.replace(episode, told_story=story, fired_ms=0, changed_ms=0)


def _changed(settings: surge.Settings) -> dict[str, Any]:
    usual = surge.Settings()
    return {
        one.name: msgspec.to_builtins(getattr(settings, one.name))
        for one in fields(surge.Settings)
        if getattr(settings, one.name) != getattr(usual, one.name)
    }


def _runs(slot: Slot) -> Runs:
    found: Runs = {}
    for one in fields(Slot):
        runs: list[tuple[Any, int]] = []
        if getattr(slot, one.name) is None:
            continue
        for value in _plain(getattr(slot, one.name)):
            if runs and runs[-1][0] == value:
                runs[-1] = value, runs[-1][1] + 1
            else:
                runs.append((value, 1))
        found[one.name] = runs
    return found


def _plain(values: Any) -> list[Any]:
    found: list[Any] = np.asarray(values).tolist()
    return found


def _six(value: float) -> float:
    # The last bit may differ between kinds of processors; a replay compares what is far above it. Adding 0 takes the sign off a zero.
    return round(float(value), 6) + 0.0


def _hash(row: surge.State) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in (row.core, row.hours):
        digest.update((np.round(part.astype(np.float64), 6) + 0.0).astype("<f8").tobytes())
    return digest.hexdigest()


# -- reading ----------------------------------------------------------------------------------------------------------


def _case(frozen: Record) -> Case:
    given = frozen.inputs
    settings = msgspec.convert(given.settings, surge.Settings)
    counts = np.array(given.counts, np.float64)
    first_ms = frozen.bucket - (len(counts) - 1) * settings.step_s * 1000
    heard = np.array(given.heard, np.float64) if given.heard else np.zeros(len(counts))
    return Case(
        subject=frozen.subject, wide=given.wide, drill=given.drill, settings=settings, ln_h=given.ln_h, lateness_ms=given.lateness_ms,
        start_ms=frozen.bucket, at_ms=0, early=given.early, row=surge.row_from_bytes(given.row), slot=_slot(given.slot),
        mentions=given.mentions, episode=given.episode, alone=given.alone, slots=_slot(given.slots),
        counts=counts, heard=heard, reach=heard,
        cards=_cards(given.said, first_ms, settings.step_s * 1000),
    )  # fmt: skip


def _cards(said: Said, first_ms: int, step_ms: int) -> list[DocumentCard]:
    about = said.about or [[]] * len(said.step)
    return [
        DocumentCard(
            id=str(i), story=_name(said.story[i]), published_at=first_ms + step * step_ms, source=_name(said.source[i]),
            label="negative", negative=1.0, lang="", feed="news" if said.news[i] else "comments", author=_name(said.author[i]),
            url=_name(said.family[i]), about=tuple(_name(company) for company in about[i]),
            topics=tuple(said.topic_names[topic - 1] for topic in said.topics[i]),
        )
        for i, step in enumerate(said.step)
    ]  # fmt: skip


def _name(number: int) -> str:
    """Numbers as names that sort as the numbers do."""
    return f"{number:06d}" if number else ""


def _slot(runs: Runs) -> Slot:
    if any(sum(often for _, often in own) > MOST_STEPS for own in runs.values()):
        raise ValueError(f"a slot of more than {MOST_STEPS} steps")  # a file from elsewhere must not fill the memory
    return Slot(**{name: np.array([value for value, often in own for _ in range(often)]) for name, own in runs.items()})
