"""Names to put into one sentence in turn: a verdict that changes with the name is about the name; next: evaluation_sets.py.

Thirty a language: large, small, American, Chinese, invented, and some whose name alone is a scandal. Training fills its
slots with none of them (tests/unit/test_evaluate.py sees to it).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from groundswell.tagging import Tag
from models.measure.figures import rounded

NAMES = {
    "en": (
        *("Microsoft", "Berkshire Hathaway", "Nestlé", "Broadcom", "SoftBank Group"),  # large
        *("Cass Information Systems", "Lakeland Bancorp", "Hurco Companies", "Oil-Dri", "Marine Products"),  # small
        *("T-Mobile US", "UnitedHealth", "Intel Corp", "Micron Technology", "Southern Company"),  # American
        *("Kweichow Moutai", "Meituan", "Lenovo Group", "China Mobile", "PetroChina"),  # Chinese
        *("Ashgrove Metals", "Zinnia Cloud", "Dorrigan Oil", "Vantry Bio", "Hesperus Airlines"),  # invented
        *("Enron", "Theranos", "Wirecard", "Lehman Brothers", "Luckin Coffee"),  # notorious
    ),
    "zh": (
        *("贵州茅台", "阿里巴巴", "微软", "台积电", "中国移动"),
        *("东杰智能", "凯龙股份", "仙坛股份", "博汇股份", "海利得"),
        *("英特尔", "联合健康", "伯克希尔", "甲骨文公司", "高通公司"),
        *("美团", "小米集团", "伊利股份", "中国石化", "科大讯飞"),
        *("岱岩科技", "羽衡航空", "临汐银行", "杏泉酒业", "捷苓支付"),
        *("安然公司", "雷曼兄弟", "康美药业", "獐子岛", "瑞幸咖啡"),
    ),
}
NAMES_A_LANGUAGE = 30


def fill(skeleton: str, language: str) -> list[str]:
    """The sentence under each name of its language."""
    return [skeleton.replace("{ORG}", name) for name in NAMES[language]]


def steadiness(tags: Sequence[Tag]) -> dict[str, Any]:
    """Of tags in the order of templates, then names: `flips`, the share that differ from what most names of their
    template get; `steady_templates`, the share without any; `spread`, the median over the templates of the largest
    less the smallest probability of negative."""
    said = np.array([tag.polarity for tag in tags]).reshape(-1, NAMES_A_LANGUAGE)
    p = np.array([tag.negative for tag in tags]).reshape(said.shape)
    flips = np.array([1 - np.unique(row, return_counts=True)[1].max() / NAMES_A_LANGUAGE for row in said])
    return {
        "templates": len(said),
        "flips": rounded(flips.mean()),
        "steady_templates": rounded((flips == 0).mean()),
        "spread": rounded(np.median(p.max(1) - p.min(1))),
    }


def by_language(tags: Sequence[Tag], languages: Sequence[str]) -> dict[str, Any]:
    """The same for each language; `languages` has one entry a template."""
    each = [tags[n * NAMES_A_LANGUAGE : (n + 1) * NAMES_A_LANGUAGE] for n in range(len(languages))]
    return {
        lang: steadiness([tag for n, group in enumerate(each) if languages[n] == lang for tag in group])
        for lang in sorted(set(languages))
    }
