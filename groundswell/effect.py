"""How many times the usual a surge is, as people are told it. Against next to nothing expected a factor says nothing: over MANY_TIMES
it is not counted any further."""

MANY_TIMES = 20


def times_usual(effect: float) -> str:
    """For a column of a table: 3.2x, or over 20x."""
    return f"over {MANY_TIMES}x" if effect > MANY_TIMES else f"{effect:.1f}x"
