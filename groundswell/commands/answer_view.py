"""An answer in the terminal: bars, companies, and the sentence that decided with its loud words; next: answers.py.

All text here is from the world: it passes `text.safe` and is printed as plain Text, never as markup.
"""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from groundswell.commands.answers import NUMBERS, Answer, Company
from groundswell.text import safe

COLOURS = {"negative": "red", "neutral": "blue", "positive": "green"}
SIGNS = {"negative": "-", "neutral": "=", "positive": "+"}
WIDE, NARROW = 24, 5
SENTENCE_CHARS, NAME_CHARS, EXCERPT_CHARS = 600, 40, 60
EIGHTHS = " ▏▎▍▌▋▊▉"


def bar(p: float, width: int, colour: str) -> Text:
    """A share of 1 as a bar of at most `width` cells, padded to them."""
    eighths = round(max(0.0, min(1.0, p)) * width * 8)
    return Text(("█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()).ljust(width), style=colour)


def verdict(said: Answer | Company) -> Text:
    """The word, coloured; an unsure one says so."""
    found = Text(said.polarity, style=f"bold {COLOURS[said.polarity]}")
    return found.append(" (unsure)", style="not bold yellow") if said.unsure else found


def show(answer: Answer, console: Console) -> None:
    """Everything said of one text."""
    console.print(verdict(answer))
    numbers = Table(box=None, show_header=False, padding=(0, 1))
    for name in NUMBERS:
        numbers.add_row(Text(name), f"{getattr(answer, name):.3f}", bar(getattr(answer, name), WIDE, COLOURS[name]))
    console.print(numbers)
    topics = ", ".join(f"{safe(topic, NAME_CHARS)} {p:.2f}" for topic, p in answer.topics.items())
    console.print(Text.assemble((" topics     ", "dim"), topics))
    if answer.companies:
        console.print(companies(answer))
    if answer.deciding:
        console.print(Text.assemble((" decided by ", "dim"), sentence(answer)), soft_wrap=not console.is_terminal)
    cut = "; too long: a part was not read" if answer.truncated else ""
    console.print(Text(f" {answer.lang}, {answer.tokens} tokens{cut}, model {safe(answer.model, 120)}", style="dim"))


def companies(answer: Answer) -> Table:
    """One line a company: how the text speaks of it, not of all."""
    table = Table("company", "as named", "said", *NUMBERS, "id", box=None, padding=(0, 1), header_style="dim")
    for one in answer.companies:
        named = safe(answer.whole[one.start : one.end], NAME_CHARS) if one.start >= 0 else "(by the feed)"
        bars = [
            Text(f"{getattr(one, name):.2f} ").append(bar(getattr(one, name), NARROW, COLOURS[name]))
            for name in NUMBERS
        ]
        table.add_row(
            Text(safe(one.name, NAME_CHARS)),
            Text(named),
            verdict(one),
            *bars,
            Text(safe(one.id, NAME_CHARS), style="dim"),
        )
    return table


def sentence(answer: Answer) -> Text:
    """The deciding sentence with its loud words marked."""
    raw = answer.deciding_text
    shown = safe(raw, SENTENCE_CHARS)
    text = Text(shown, style="italic")
    start = answer.deciding[0] if answer.deciding else 0
    # Places count in the raw sentence: they hold as far as making it safe has changed nothing.
    same = next((n for n, (a, b) in enumerate(zip(raw, shown, strict=False)) if a != b), min(len(raw), len(shown)))
    for a, b in answer.words:
        if a - start >= 0 and b - start <= same:
            text.stylize(f"bold underline not italic {COLOURS[answer.polarity]}", a - start, b - start)
    return text


def line(answer: Answer) -> Text:
    """One text of many, on one line."""
    p = getattr(answer, answer.polarity)
    said = f"{answer.polarity}{'?' if answer.unsure else ''}"
    found = Text(f"{answer.line:>6}  ", style="dim")
    found.append(f"{said:<10}", style=f"bold {COLOURS[answer.polarity]}").append(f"{p:.2f} ")
    found.append(bar(p, NARROW, COLOURS[answer.polarity])).append("  ")
    found.append(f"{safe(' '.join(answer.topics), 30):<22}", style="cyan")
    for one in answer.companies[:4]:
        unsure = "?" if one.unsure else ""
        named = f"{safe(one.name or one.id, 20)} {SIGNS[one.polarity]}{unsure}  "
        found.append(named, style=COLOURS[one.polarity])
    return found.append(safe(answer.whole, EXCERPT_CHARS), style="dim")
