"""Subjects that test the installation itself: a canary each minute, fire drills. A document about one is about nothing else.

A feed names one in `symbols`; ingest, tag and aggregate keep such documents out of the market, the topics and the stories.
"""

from groundswell.records import Document

CANARY = "TEST:CANARY"
DRILLS = tuple(f"TEST:DRILL{number}" for number in range(1, 7))  # several, since an episode lasts a quarter of an hour
NAMES = {CANARY: {"en": "Canary", "zh": "巡检文本"}} | {name: {"en": "Fire drill", "zh": "演练"} for name in DRILLS}


def is_test(subject: str) -> bool:
    """Reserved for tests of the installation."""
    return subject in NAMES


def tests(document: Document) -> bool:
    """Whether a document is about a reserved subject, and so about nothing else."""
    return any(is_test(mention.subject) for mention in document.mentions)
