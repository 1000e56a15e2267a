"""Who is meant by a name that people write: ids, symbols, names and patterns to what is counted. Pure; list_desk.py asks."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from groundswell.asked_tuning import Found
from groundswell.errors import NoSuchSubject
from groundswell.text import safe
from stream.names.directory import Directory

SIGNS = "*?["


def is_pattern(entry: str) -> bool:
    """Whether it stands for more than one subject."""
    return any(sign in entry for sign in SIGNS)


def members(directory: Directory, entries: Sequence[str]) -> Sequence[str]:
    """The subjects that ids and patterns stand for, in the directory's order."""
    exact = {one for one in entries if not is_pattern(one)}
    patterns = [one for one in entries if one not in exact]
    return [
        subject for subject in directory.ids if subject in exact or any(fnmatchcase(subject, one) for one in patterns)
    ]


def resolved(directory: Directory, asked: Iterable[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Ids and patterns of what was named, each once, and what nobody knows. An id, a symbol, or what exactly one subject is called."""
    found: dict[str, None] = {}
    unknown: dict[str, None] = {}
    called: dict[str, set[str]] | None = None
    for one in (each.strip() for each in asked):
        if not one:
            continue
        if is_pattern(one):
            there = one if members(directory, (one,)) else None
        else:
            there = directory.resolve(one)
            if there is None:
                called = _called(directory) if called is None else called
                of_name = called.get(one.casefold(), set())
                there = next(iter(of_name)) if len(of_name) == 1 else None
        if there is None:
            unknown[one] = None
        else:
            found[there] = None
    return list(found), list(unknown)


def strictly(directory: Directory, asked: Iterable[str]) -> Sequence[str]:
    """Ids and patterns of what was named. Raises NoSuchSubject for the first that nobody knows."""
    found, unknown = resolved(directory, asked)
    if unknown:
        raise no_such(unknown[0])
    return found


def search(directory: Directory, asked: str, limit: int) -> list[Found]:
    """Subjects by id or name: those that are called so, then those that begin so, then those that hold it."""
    wanted = asked.strip().casefold()
    if not wanted:
        return []
    ranked = []
    for subject in directory.ids:
        names = [name.casefold() for name in directory.called(subject)] + [subject.partition(":")[2].casefold()]
        rank = min(
            (0 if name == wanted else 1 if name.startswith(wanted) else 2 for name in names if wanted in name),
            default=3,
        )
        if rank < 3:
            ranked.append((rank, subject))
    about = [directory[subject] for _, subject in sorted(ranked)[:limit]]
    return [Found(subject=one.id, names=one.names, kind=one.kind) for one in about]


def _called(directory: Directory) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for subject in directory.ids:
        for name in directory.called(subject):
            found.setdefault(name.casefold(), set()).add(subject)
    return found


def no_such(name: str) -> NoSuchSubject:
    """The refusal of what nobody knows."""
    return NoSuchSubject(
        f"{safe(name, 80)!r} is no subject.",
        remedy="Write an id such as XNAS:AAPL or topic:fraud, a name, or a pattern.",
    )
