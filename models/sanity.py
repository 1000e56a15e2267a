"""Twelve plain sentences that any working model gets right; next: worker.py, which refuses to start when it does not.

They guard the label order: models in the wild disagree on which number means negative, and a swapped model looks
healthy until the alerts come for the wrong reason.
"""

from groundswell.tagging import Text
from models.heads import Tagger

SENTENCES: tuple[tuple[str, str, str], ...] = (
    ("en", "negative", "The company filed for bankruptcy after auditors found massive accounting fraud."),
    ("en", "negative", "Shares plunge 30% as the firm slashes its profit forecast and cuts thousands of jobs."),
    ("en", "positive", "Quarterly profit soars to a record, beating estimates, and the dividend is raised."),
    ("en", "positive", "Shares surge to an all-time high after strong sales growth and an upgraded outlook."),
    ("en", "neutral", "The annual general meeting will be held on 14 May at the company's head office."),
    ("en", "neutral", "The company will publish its third-quarter report on Thursday."),
    ("zh", "negative", "公司因涉嫌财务造假被证监会立案调查，股价连续跌停。"),
    ("zh", "negative", "该公司债券违约，资金链断裂，大批员工被裁。"),
    ("zh", "positive", "公司净利润同比大增，创历史新高，并宣布提高分红。"),
    ("zh", "positive", "新产品大卖，订单爆满，股价涨停创新高。"),
    ("zh", "neutral", "公司将于5月14日在总部召开年度股东大会。"),
    ("zh", "neutral", "公司定于周四披露第三季度报告。"),
)

# A small model may call one plain sentence neutral or colour a neutral one; it may never take good for bad.
ALLOWED_MISSES = 2


def check(tagger: Tagger) -> str:
    """Empty when the model passes; otherwise the table of what it answered, one sentence a line.

    Only the languages that the model's config names are asked.
    """
    asked = [row for row in SENTENCES if row[0] in tagger.config.languages]
    tags = tagger.tag([Text(text, lang=lang) for lang, _, text in asked])
    misses, swapped, table = 0, False, []
    for (lang, wanted, text), tag in zip(asked, tags, strict=True):
        misses += tag.polarity != wanted
        swapped |= {wanted, tag.polarity} == {"negative", "positive"}
        p = f"{tag.negative:.2f} {tag.neutral:.2f} {tag.positive:.2f}"
        table.append(f"{lang} wanted {wanted:8} got {tag.polarity:8} ({p}) {text}")
    return "\n".join(table) if swapped or misses > ALLOWED_MISSES else ""
