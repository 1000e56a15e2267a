"""What is said of decisions and of what they rest on, in Chinese and English: each written, none translated. The command line (`evidence`,
`why`) and the page of an alert say the same by it.
"""

from typing import Literal

from groundswell.decisions import Detected
from groundswell.text import safe

Tongue = Literal["en", "zh"]

# Why it fired or did not, after "it did not fire:" or as a heading of its own.
GATES: dict[Tongue, dict[str, str]] = {
    "en": {
        Detected.FIRED: "the evidence crossed the line",
        Detected.BELOW_THRESHOLD: "too little evidence",
        Detected.HELD_LEARNING: "too little is known of this subject yet to say what is usual",
        Detected.HELD_WARMING: "counts are being rebuilt; alerts wait until then",
        Detected.HELD_FEW_STORIES: "the line was crossed, but by too few different stories",
        Detected.HELD_FEW_VOICES: "the line was crossed, but by too few authors and publishers",
        Detected.HELD_SMALL_EXCESS: "the line was crossed, but by too few texts above the usual",
        Detected.HELD_ONE_STORY: "without its largest story little would be left",
        Detected.HELD_ONE_AUTHOR: "without its loudest author little would be left",
        Detected.HELD_ONE_PUBLISHER: "without its largest publisher little would be left",
        Detected.HELD_ONE_COMPANY: "one company alone makes it; look at that company",
        Detected.IN_EPISODE: "an episode is open, and nothing new is worth a word",
        Detected.RESOLVED: "it has calmed down",
        Detected.NEW_LEVEL: "it has lasted until it was the usual level",
        Detected.REOPENED: "it came back within the hour: the same episode goes on",
        Detected.UPDATED: "it grew, or its cause changed",
        Detected.RULE_MATCHED: "a rule of your own holds",
        Detected.RULE_RESOLVED: "a rule of your own no longer holds",
        Detected.RULE_ENDED: "a rule of your own was changed or removed",
        Detected.SINGLE_DOCUMENT: "one text of a severe topic from a trusted source",
        Detected.HELD_SINGLE_BUDGET: "the day's number of alerts by one text alone is used up",
        Detected.CANARY: "a canary came through",
    },
    "zh": {
        Detected.FIRED: "证据越过预警线",
        Detected.BELOW_THRESHOLD: "证据不足",
        Detected.HELD_LEARNING: "历史太短，还说不清该标的的常态",
        Detected.HELD_WARMING: "计数正在重建，预警暂候",
        Detected.HELD_FEW_STORIES: "已过线，但不同事由太少",
        Detected.HELD_FEW_VOICES: "已过线，但作者与媒体太少",
        Detected.HELD_SMALL_EXCESS: "已过线，但比常态多不了几条",
        Detected.HELD_ONE_STORY: "去掉最大的一个事由便所剩无几",
        Detected.HELD_ONE_AUTHOR: "去掉发声最多的一位作者便所剩无几",
        Detected.HELD_ONE_PUBLISHER: "去掉最大的一家媒体便所剩无几",
        Detected.HELD_ONE_COMPANY: "全由一家公司撑起，请看该公司",
        Detected.IN_EPISODE: "异动进行中，暂无可再说的新情况",
        Detected.RESOLVED: "已平息",
        Detected.NEW_LEVEL: "持续日久，已成新常态",
        Detected.REOPENED: "一小时内卷土重来，仍算同一次异动",
        Detected.UPDATED: "规模扩大或起因有变",
        Detected.RULE_MATCHED: "自定义规则成立",
        Detected.RULE_RESOLVED: "自定义规则不再成立",
        Detected.RULE_ENDED: "自定义规则已修改或移除",
        Detected.SINGLE_DOCUMENT: "可信来源的一篇严重话题文本",
        Detected.HELD_SINGLE_BUDGET: "当日单篇预警的名额已用完",
        Detected.CANARY: "巡检文本已走完全程",
    },
}
TYPES: dict[Tongue, dict[str, str]] = {
    "en": {"alert.firing": "fires", "alert.updated": "again", "alert.resolved": "over"},
    "zh": {"alert.firing": "触发", "alert.updated": "更新", "alert.resolved": "结束"},
}
WORDS: dict[Tongue, dict[str, str]] = {
    "en": {
        "notice": "notice", "warning": "warning", "critical": "critical",
        "growing": "growing", "steady": "steady", "fading": "fading",
        "guaranteed": "at most {0:g} false alarms a day over all subjects, guaranteed by the bound",
        "calibrated": "about {0:g} false alarms a day over all subjects, as measured on simulated talk",
        "decision": "decision", "severity": "severity", "since": "since", "counted": "counted", "size": "size", "evidence": "evidence",
        "channels": "channels", "budget": "budget", "voices": "stands on", "without": "left out", "robust": "margin", "usual": "usual",
        "during": "during", "excess": "excess", "sources": "sources", "documents": "texts", "versions": "versions", "rule": "rule",
        "conditions": "conditions",
        "early": "seen while the minute was still open, at {0}",
        "counted_is": "{0} negatives, {1:.1f} expected",
        "size_is": "{0:.1f} times the usual, {1:.1f} to {2:.1f}",
        "size_many": "over {0} times the usual",
        "evidence_is": "an e-value of {0}; {1} fires",
        "fast": "a quarter of an hour", "slow": "hours", "share": "mood",
        "voices_are": "{0} stories, {1} authors, {2} publishers",
        "story": "largest story", "author": "loudest author", "publisher": "largest publisher", "company": "largest company",
        "fires": "still fires", "not": "would not fire",
        "robust_is": "it would fire even if {0:g} times as much were usual",
        "usual_is": "{0:.2f} negatives in this step (level {1:.3g} a minute, {2:.2f} times that at this hour), {3:.0%} of all texts",
        "source": "by source", "story_of": "by story", "topic": "by topic", "rest": "others", "company_of": "by company",
        "own_rule": "your rule {0} ({1})", "holds": "holds", "fails": "does not hold", "nothing": "not known",
        "span": "last", "negatives": "negatives", "expected": "expected", "band": "5-95 %", "mentions": "texts", "reach": "reach",
        "at": "at", "what": "what", "event": "event",
    },
    "zh": {
        "notice": "提示", "warning": "警告", "critical": "严重",
        "growing": "上升", "steady": "持平", "fading": "消退",
        "guaranteed": "全部标的合计每天至多 {0:g} 次误报，由上界保证",
        "calibrated": "全部标的合计每天约 {0:g} 次误报，按模拟舆情实测",
        "decision": "判定", "severity": "级别", "since": "起点", "counted": "计数", "size": "规模", "evidence": "证据",
        "channels": "观察尺度", "budget": "预算", "voices": "依据", "without": "剔除", "robust": "余量", "usual": "常态",
        "during": "恰逢", "excess": "超出", "sources": "来源", "documents": "文本", "versions": "版本", "rule": "规则",
        "conditions": "条件",
        "early": "该分钟未完即已判出，止于 {0}",
        "counted_is": "负面 {0} 条，常态 {1:.1f} 条",
        "size_is": "为常态的 {0:.1f} 倍，区间 {1:.1f} 至 {2:.1f}",
        "size_many": "逾常态的 {0} 倍",
        "evidence_is": "e 值 {0}，{1} 即触发",
        "fast": "一刻钟", "slow": "数小时", "share": "情绪占比",
        "voices_are": "{0} 个事由，{1} 位作者，{2} 家媒体",
        "story": "最大事由", "author": "发声最多的作者", "publisher": "最大媒体", "company": "最大公司",
        "fires": "仍触发", "not": "不再触发",
        "robust_is": "即使常态高至 {0:g} 倍仍会触发",
        "usual_is": "本步 {0:.2f} 条负面（基线每分钟 {1:.3g} 条，此时段为其 {2:.2f} 倍），占全部文本 {3:.0%}",
        "source": "按来源", "story_of": "按事由", "topic": "按话题", "rest": "其他", "company_of": "按公司",
        "own_rule": "自定义规则 {0}（{1}）", "holds": "成立", "fails": "不成立", "nothing": "未知",
        "span": "最近", "negatives": "负面", "expected": "常态", "band": "5-95 %", "mentions": "文本", "reach": "含转载",
        "at": "时间", "what": "事项", "event": "编号",
    },
}  # fmt: skip


def gate(decision: str, tongue: Tongue) -> str:
    """Why, in words; the bare name of a decision that a later version made."""
    return GATES[tongue].get(decision) or safe(decision, 60)


def power(natural: float) -> str:
    """An e-value, of which evidence is the natural logarithm."""
    return f"10^{natural / 2.302585092994046:.1f}"
