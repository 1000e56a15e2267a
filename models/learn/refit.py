"""Fits the calibration again after fine-tuning, in what the user's dev side can tell; next: before_after.py.

A language, its companies or a topic of which that side holds next to nothing keeps the numbers it had. The user's texts
and those that the model was made from have the same say, each text with the habit of its style.
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from models.catalog import Config
from models.heads import Floats, Tagger, habit
from models.learn import fit
from models.learn.cleaning import Labelled
from models.learn.fit import HeldOut, Ints
from models.learn.sources import UNKNOWN, YOURS, Example

ENOUGH = 20
# The sets that speak for a language beside the user's own texts, where they are at hand.
SETS = {"en": ("tfns", "sentfin", "own-en"), "zh": ("own-zh",)}


def refit(tagger: Tagger, dev: Sequence[Labelled], held_out: Mapping[str, Sequence[Example]]) -> Config:
    """The config with the numbers fitted again. `held_out` holds held-out texts of the model's own sets by name."""
    config = tagger.config
    scores = {name: fit.logits_of(tagger, examples) for name, examples in held_out.items()}
    languages, targets = dict(config.languages), dict(config.targets)
    for lang in SETS.keys() & config.languages.keys():
        yours = [text.example for text in dev if text.lang == lang]
        if not yours:
            continue
        mine = fit.logits_of(tagger, yours)
        sets = [(yours, mine), *((held_out[name], scores[name]) for name in SETS[lang] if name in held_out)]
        styles = list(dict.fromkeys([*config.languages[lang].styles, YOURS]))
        if sum(example.sentiment != UNKNOWN for example in yours) >= ENOUGH:
            judged = [texts(tagger, examples, said, styles) for examples, said in sets]
            fitted = fit.language([each for each in judged if len(each[1])])
            languages[lang] = msgspec.structs.replace(fitted, styles=styles)
        if len(mine.labels) >= ENOUGH:
            targets[lang] = fit.language([(said.targets, said.labels) for _, said in sets if len(said.labels)])
    return msgspec.structs.replace(
        config, languages=languages, targets=targets, topic_thresholds=thresholds(tagger, dev)
    )


def texts(tagger: Tagger, examples: Sequence[Example], said: HeldOut, styles: Sequence[str]) -> tuple[Floats, Ints]:
    """Logits with the habits of the texts' styles, and labels, of those whose sentiment is known."""
    wanted = np.array([example.sentiment for example in examples])
    shifted = said.sentiment + np.stack([habit(row, tagger.habits, styles) for row in said.styles])
    return shifted[wanted != UNKNOWN], wanted[wanted != UNKNOWN]


def thresholds(tagger: Tagger, dev: Sequence[Labelled]) -> list[float]:
    examples = [text.example for text in dev]
    known = np.array([example.topics for example in examples])
    fitted = fit.thresholds(tagger.config, {YOURS: fit.logits_of(tagger, examples)}, {YOURS: examples})
    enough = (known == 1).sum(0) >= fit.ENOUGH
    return [new if many else old for new, many, old in zip(fitted, enough, tagger.config.topic_thresholds, strict=True)]
