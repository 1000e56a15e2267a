"""The label names every model answers with, in one fixed order; next: heads.py, which turns hidden states into them.

Order is part of no contract: a model folder names its own labels and `catalog.py` maps them by name.
The topic ids are stable: they are stored in Kafka and in rules, so a name may be added but never renamed.
"""

SENTIMENTS: tuple[str, ...] = ("negative", "neutral", "positive")

TOPICS: tuple[str, ...] = (
    "earnings",
    "guidance",
    "dividend",
    "analyst",
    "rating",
    "default",
    "ma",
    "financing",
    "management",
    "fraud",
    "regulation",
    "litigation",
    "safety",
    "cyber",
    "labour",
    "supply",
    "macro",
    "geopolitics",
    "commodity",
    "market",
    "esg",
    "product",
)

# What a document is filed under when no topic reaches its threshold; not a class of its own.
OTHER_TOPIC = "other"
MAX_TOPICS = 3

LANGUAGES: tuple[str, ...] = ("en", "zh", "other")
