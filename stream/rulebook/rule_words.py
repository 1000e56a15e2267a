"""A user's own rule and what it found, said in Chinese and in English: each written, none translated."""

from collections.abc import Sequence

from stream.rulebook.rules import Condition, Node, Rule, spoken

UNBOUNDED = {
    "en": "A rule of your own: no bound on false alarms.",
    "zh": "自定义规则，不在误报预算之内。",
}
_COMPARED = {
    "en": {">=": "at least {0}", ">": "more than {0}", "<=": "at most {0}", "<": "less than {0}"},
    "zh": {">=": "达到 {0}", ">": "超过 {0}", "<=": "不超过 {0}", "<": "不足 {0}"},
}
_OF = {
    "en": {"negatives": "negative texts", "mentions": "texts", "reach": "texts with their echoes"},
    "zh": {"negatives": "负面", "mentions": "提及", "reach": "含转载的声量"},
}
_SEVERITY = {"notice": "提示", "warning": "警告", "critical": "严重"}


def means(rule: Rule, subjects: int | None = None) -> dict[str, str]:
    """What the rule means, in one or two sentences a language. `subjects`: how many it matches, where that is known."""
    return {"en": _english(rule, subjects), "zh": _chinese(rule, subjects)}


def found(conditions: Sequence[tuple[Condition, float]], language: str) -> str:
    """The values that made it fire, each beside its threshold."""
    if language == "zh":
        return "；".join(f"{_value_zh(one, value)}（要求{_threshold(one, 'zh')}）" for one, value in conditions)
    return "; ".join(f"{_value_en(one, value)} ({_threshold(one, 'en')})" for one, value in conditions)


def _english(rule: Rule, subjects: int | None) -> str:
    about = (
        "all subjects"
        if "*" in rule.subjects
        else " or ".join([*rule.subjects[:4], *(["others"] if len(rule.subjects) > 4 else [])])
    )
    if rule.watchlist:
        about = " or ".join(filter(None, (about, f"the watchlist {rule.watchlist}")))
    counted = (
        f" ({subjects} of them now)"
        if subjects is not None and "*" in rule.subjects
        else f" ({subjects} subject{'' if subjects == 1 else 's'})"
        if subjects is not None
        else ""
    )
    sieve = rule.sieve
    only = [
        f"about {' or '.join(sieve.topics)}" if sieve.topics else "",
        f"from {' or '.join(sieve.sources[:4])}{' or others' if len(sieve.sources) > 4 else ''}"
        if sieve.sources
        else "",
        f"in {' and '.join(sieve.feeds)}" if sieve.feeds else "",
    ]
    texts = " ".join(part for part in only if part)
    held = f" for {spoken(rule.holds_s)} without a break" if rule.holds_s else ""
    said = f"Alerts ({rule.severity}) about {about}{counted} when {_joined(rule.node, 'en')}{held}."
    return said + (f" Only texts {texts} count." if texts else "") + ("" if rule.enabled else " It is switched off.")


def _chinese(rule: Rule, subjects: int | None) -> str:
    about = (
        "所有对象" if "*" in rule.subjects else "、".join(rule.subjects[:4]) + ("等" if len(rule.subjects) > 4 else "")
    )
    if rule.watchlist:
        about = "、".join(filter(None, (about, f"关注列表 {rule.watchlist}")))
    counted = f"（现有 {subjects} 个）" if subjects is not None else ""
    sieve = rule.sieve
    only = [
        f"话题为 {'、'.join(sieve.topics)}" if sieve.topics else "",
        f"来源为 {'、'.join(sieve.sources[:4])}{'等' if len(sieve.sources) > 4 else ''}" if sieve.sources else "",
        {"news": "只看新闻", "comments": "只看评论"}.get("".join(sieve.feeds), ""),
    ]
    texts = "，".join(part for part in only if part)
    held = f"，且持续满 {_span_zh(rule.holds_s)}" if rule.holds_s else ""
    said = f"{about}{counted}：{_joined(rule.node, 'zh')}{held}时，发出“{_SEVERITY[rule.severity]}”。"
    return said + (f"计数范围：{texts}。" if texts else "") + ("" if rule.enabled else "该规则已停用。")


def _joined(node: Node, language: str, *, inner: bool = False) -> str:
    words = {"en": (" and ", " or "), "zh": ("，且", "，或")}[language]
    parts = [
        _joined(part, language, inner=len(part.parts) > 1) if isinstance(part, Node) else _condition(part, language)
        for part in node.parts
    ]
    if language == "zh":  # a digit after a Chinese word stands off
        parts = [parts[0], *(f" {part}" if part[0].isdigit() else part for part in parts[1:])]
    said = words[0 if node.every else 1].join(parts)
    return (f"({said})" if language == "en" else f"（{said}）") if inner else said


def _condition(one: Condition, language: str) -> str:
    threshold = _threshold(one, language)
    if language == "en":
        span = spoken(one.window_s)
        match one.metric:
            case "count":
                return f"{_OF['en'][one.of]} in {span} are {threshold}"
            case "share":
                return f"the share of negative texts in {span} is {threshold}"
            case "rate_of_change":
                return f"{_OF['en'][one.of]} in {span} are {threshold} the {span} before"
            case "times_expected":
                return f"negative texts in {span} are {threshold} what is expected"
            case "episodes":
                whose = "times that the rest of this rule held" if one.of == "this-rule" else "surges of negative talk"
                return f"the number of {whose} in {span}, this one counted, is {threshold}"
    span = _span_zh(one.window_s)
    match one.metric:
        case "count":
            return f"{span}内{_OF['zh'][one.of]}{threshold}"
        case "share":
            return f"{span}内负面占比{threshold}"
        case "rate_of_change":
            return f"{span}内{_OF['zh'][one.of]}{_threshold(one, 'zh', f'前 {span}的 ')}"
        case "times_expected":
            return f"{span}内负面{_threshold(one, 'zh', '预期的 ')}"
        case "episodes":
            whose = "本规则其余条件成立" if one.of == "this-rule" else "负面异动"
            return f"{span}内{whose}的次数（含本次）{threshold}"


def _threshold(one: Condition, language: str, against: str = "") -> str:
    number = f"{one.threshold:g}"
    if one.metric == "share":
        shown = f"{100 * one.threshold:g} %" if language == "en" else f"{100 * one.threshold:g}%"
    elif one.metric in ("rate_of_change", "times_expected"):
        shown = f"{number} times" if language == "en" else f"{number} 倍"
    else:
        shown = number if language == "en" else f"{number} {'次' if one.metric == 'episodes' else '条'}"
    said = _COMPARED[language][one.comparison].format(against + shown)
    return said.replace(" ", "", 1) if against else said


def _value_en(one: Condition, value: float) -> str:
    span = spoken(one.window_s)
    match one.metric:
        case "count":
            return f"{value:.0f} {_OF['en'][one.of]} in {span}"
        case "share":
            return f"{100 * value:.0f} % negative in {span}"
        case "rate_of_change":
            return f"{_OF['en'][one.of]} {value:.1f} times those of the {span} before"
        case "times_expected":
            return f"{value:.1f} times the expected in {span}"
        case "episodes":
            what = "time it held" if one.of == "this-rule" else "surge"
            return f"{what} number {value:.0f} in {span}"


def _value_zh(one: Condition, value: float) -> str:
    span = _span_zh(one.window_s)
    match one.metric:
        case "count":
            return f"{span}内{_OF['zh'][one.of]} {value:.0f} 条"
        case "share":
            return f"{span}内负面占比 {100 * value:.0f}%"
        case "rate_of_change":
            return f"{span}内{_OF['zh'][one.of]}为前一时段的 {value:.1f} 倍"
        case "times_expected":
            return f"{span}内负面为预期的 {value:.1f} 倍"
        case "episodes":
            return f"{span}内第 {value:.0f} 次{'成立' if one.of == 'this-rule' else '异动'}"


def _span_zh(seconds: int) -> str:
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3_600)
    parts = [f"{count} {unit}" for count, unit in ((days, "天"), (hours, "小时"), (rest // 60, "分钟")) if count]
    return " ".join(parts)
