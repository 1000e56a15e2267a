"""Why a subject did not fire, told in a few lines of Chinese or English. Pure; why.py prints it."""

from typing import TYPE_CHECKING

from groundswell import times
from groundswell.commands.spoken import Tongue
from groundswell.evidence_words import gate, power
from groundswell.text import safe
from stream.detection.floors import AUTHORS, EXCESS, PUBLISHERS, STORIES

if TYPE_CHECKING:
    from groundswell.commands.why import Answer
    from stream.detection.why import Why


def sentences(found: "Answer", tongue: Tongue) -> list[str]:
    """The lines."""
    return _chinese(found) if tongue == "zh" else _english(found)


def _english(found: "Answer") -> list[str]:
    one, name = found.why, safe(found.names.get("en", found.subject), 60)
    said = [f"{name} ({safe(found.subject, 60)})"]
    if found.rebuilding:
        said.append("Counts are being rebuilt after a loss; alerts wait until then, and these counts may be too small.")
    if one is None:
        return [*said, "Nobody has mentioned it yet: there is nothing to count."]
    step = "minute" if one.step_s == 60 else f"{one.step_s // 60} minutes"
    said[0] += f", the {step} from {found.at}" + (" (still open)" if one.exact else "")
    if found.fired:
        said.append(
            f"It did fire: episode {safe(found.fired, 60)}. See: groundswell evidence show {safe(found.fired, 60)}"
        )
    elif one.decision in ("fired", "reopened"):
        said.append(
            "All that it takes is there: it fires when this step closes." if one.exact
            else "It did not fire then. By what is known now it would have."
        )  # fmt: skip
    else:
        said.append(f"It did not fire: {gate(one.decision, 'en')}.")
    said += [
        f"  counted   {one.negatives} negative of {one.mentions} texts in this step; {one.negatives_15m} in a quarter of an hour",
        f"  expected  {_few(one.expected)} ({one.low}-{one.high}); {_few(one.expected_15m)} in a quarter of an hour",
        f"  evidence  an e-value of {power(one.ln_m)}; {power(one.ln_h)} fires",
    ]
    if one.floors:
        said.append(
            f"  stands on {one.floors['stories']} stories ({STORIES} needed), {one.floors['authors']} authors ({AUTHORS}) or "
            f"{one.floors['publishers']} publishers ({PUBLISHERS}), since {times.rfc3339(one.onset_ms)}"
        )
    missing = _missing_english(one)
    if missing and not found.fired:
        said.append(f"  missing   {missing}")
    if not one.exact:
        said.append(f"Judged by what is known now, {found.known_until}, not by what was known then.")
    return said


def _missing_english(one: "Why") -> str:
    if one.decision == "held_learning":
        return "history: a day of it, or 20 negative texts"
    if one.more:
        when = f"{'this' if one.exact else 'that'} {'minute' if one.step_s == 60 else 'step'}"
        would = "would fire" if one.exact else "would have fired"
        return (
            f"{one.more} more {_texts(one.more, 'negative')} {when} {would}, if by {STORIES} stories and "
            f"{AUTHORS} authors or {PUBLISHERS} publishers"
        )
    if one.more is None and not one.episode:
        return "no number of texts in one step would have been enough"
    return {
        "held_few_stories": f"{STORIES - one.floors.get('stories', 0)} more stories",
        "held_few_voices": "voices of their own, not one that speaks often",
        "held_small_excess": f"{EXCESS:g} texts above the usual since the onset",
    }.get(one.decision, "")


def _chinese(found: "Answer") -> list[str]:
    one, name = found.why, safe(found.names.get("zh", found.subject), 60)
    said = [f"{name}（{safe(found.subject, 60)}）"]
    if found.rebuilding:
        said.append("数据丢失后计数正在重建，期间预警暂候，下列计数可能偏小。")
    if one is None:
        return [*said, "尚无任何文本提及，无从计数。"]
    step = "1 分钟" if one.step_s == 60 else f"{one.step_s // 60} 分钟"
    said[0] += f"，自 {found.at} 起的 {step}" + ("（未完）" if one.exact else "")
    if found.fired:
        said.append(f"当时已触发：异动 {safe(found.fired, 60)}。详见 groundswell evidence show {safe(found.fired, 60)}")
    elif one.decision in ("fired", "reopened"):
        said.append("条件已齐，本步结束即触发。" if one.exact else "当时没有触发；按现在所知，本应触发。")
    else:
        said.append(f"没有触发：{gate(one.decision, 'zh')}。")
    said += [
        f"  计数  本步 {one.mentions} 条文本中负面 {one.negatives} 条；近一刻钟负面 {one.negatives_15m} 条",
        f"  常态  {_few(one.expected)} 条（{one.low}-{one.high}）；一刻钟 {_few(one.expected_15m)} 条",
        f"  证据  e 值 {power(one.ln_m)}，达到 {power(one.ln_h)} 即触发",
    ]
    if one.floors:
        said.append(
            f"  依据  自 {times.rfc3339(one.onset_ms)} 起，事由 {one.floors['stories']} 个（须 {STORIES}），"
            f"作者 {one.floors['authors']} 位（须 {AUTHORS}）或媒体 {one.floors['publishers']} 家（须 {PUBLISHERS}）"
        )
    missing = _missing_chinese(one)
    if missing and not found.fired:
        said.append(f"  尚缺  {missing}")
    if not one.exact:
        said.append(f"以上按现在（{found.known_until}）所知判断，与当时所知未必相同。")
    return said


def _missing_chinese(one: "Why") -> str:
    if one.decision == "held_learning":
        return "历史：满一天，或满 20 条负面"
    if one.more:
        when = ("本" if one.exact else "该") + ("分钟" if one.step_s == 60 else "步")
        return f"{when}再多 {one.more} 条负面即触发，前提是出自 {STORIES} 个事由，且有 {AUTHORS} 位作者或 {PUBLISHERS} 家媒体"
    if one.more is None and not one.episode:
        return "单凭一步之内的文本，再多也不够"
    return {
        "held_few_stories": f"再有 {STORIES - one.floors.get('stories', 0)} 个不同事由",
        "held_few_voices": "更多各自发声的人，而非一人频频发声",
        "held_small_excess": f"自起点以来比常态多出 {EXCESS:g} 条",
    }.get(one.decision, "")


def _texts(count: int, one: str) -> str:
    return one if count == 1 else f"{one}s"


def _few(value: float) -> str:
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"
