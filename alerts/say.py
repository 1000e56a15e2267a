"""What one delivery says about an episode: the word that pipeline.py decides on and every channel renders."""

from enum import StrEnum


class Say(StrEnum):
    FIRING = "firing"
    UPDATED = "updated"
    RESOLVED = "resolved"
    ACKNOWLEDGED = "acknowledged"  # to those who heard it fire: somebody has seen it
    REPEAT = "repeat"  # still firing, and nobody acknowledged it
    ESCALATED = "escalated"  # nobody acknowledged it in time: now also here
    TEST = "test"
    DISABLED = "disabled"  # another endpoint cannot be reached any more
    RECOVERED = "recovered"
