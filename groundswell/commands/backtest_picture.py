"""The picture of a back-test: a timeline a subject with negatives, the expected band, and the episodes of one or two settings."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from groundswell import times
from groundswell.errors import Misconfigured
from groundswell.text import safe
from stream.past.backtest_series import Series

SUBJECTS = 12
COLOURS = ("#b3261e", "#1f5a99")  # first and second setting
BARS, BAND = "#5f6b7a", "#9ec5a8"


class NoPictures(Misconfigured):
    """Pictures need matplotlib."""

    reason = "no_pictures"
    remedy = "Install it (pip install matplotlib), or leave --picture out."


def ready(path: Path) -> None:
    """Raises NoPictures, before anything long is begun."""
    if path.suffix not in (".svg", ".png"):
        raise NoPictures(f"{safe(str(path))} is neither .svg nor .png.", remedy="Name a file that ends so.")
    try:
        import matplotlib  # noqa: F401, ICN001
    except ImportError as error:
        raise NoPictures from error


def draw(path: Path, series: Series, found: dict[str, Any]) -> None:
    """The subjects with the most episodes, at most 12, then the loudest."""
    from models.measure.pictures import plotter

    pyplot = plotter()
    settings = found["settings"]
    episodes = Counter(one["subject"] for setting in settings for one in setting["episodes"])
    subjects = series.busiest(sorted(episodes, key=lambda subject: (-episodes[subject], subject)), SUBJECTS)
    at = [datetime.fromtimestamp(at_ms / 1000, UTC) for at_ms in series.times_ms.tolist()]
    end = datetime.fromtimestamp(times.parse_ms(found["until"]) / 1000, UTC)
    rows = max(len(subjects), 1)
    figure, axes = pyplot.subplots(rows, 1, figsize=(11, 0.9 + 1.15 * rows), sharex=True, squeeze=False)
    for axis, subject in zip(axes[:, 0], subjects, strict=False):
        line = series.line(subject)
        axis.fill_between(at, line.low, line.high, step="post", color=BAND, alpha=0.6, linewidth=0)
        axis.step(at, line.negatives, where="post", color=BARS, linewidth=0.8)
        for number, setting in enumerate(settings):
            # Above one another, so that neither hides the other.
            low, high = (0.0, 1.0) if len(settings) == 1 else (0.5 - 0.5 * number, 1.0 - 0.5 * number)
            for one in setting["episodes"]:
                if one["subject"] == subject:
                    axis.axvspan(
                        _moment(one["onset"]), _moment(one["resolved"]) if one["resolved"] else end,
                        ymin=low, ymax=high, color=COLOURS[number], alpha=0.28, linewidth=0,
                    )  # fmt: skip
                    axis.axvline(_moment(one["fired"]), ymin=low, ymax=high, color=COLOURS[number], linewidth=1)
        # Ids, not names: a font for every script is not everywhere.
        axis.set_title(safe(subject, 60), fontsize=8, loc="left", pad=2)
        axis.set_ylim(bottom=0)
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1, 0].set_xlim(at[0], end)
    _caption(figure, pyplot, settings, series.bin_ms, rows)
    figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else {"Software": None})
    pyplot.close(figure)


def _caption(figure: Any, pyplot: Any, settings: list[dict[str, Any]], bin_ms: int, rows: int) -> None:
    from matplotlib.patches import Patch

    minutes = bin_ms // 60_000
    every = f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"
    marks: list[Any] = [
        pyplot.Line2D([], [], color=BARS, label=f"negatives in {every}"),
        Patch(color=BAND, alpha=0.6, label="expected, 5-95 %"),
        *(
            Patch(color=COLOURS[number], alpha=0.4, label=f"{setting['name']}: {setting['fired']}")
            for number, setting in enumerate(settings)
        ),
    ]
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.35 / (0.9 + 1.15 * rows)))
    figure.legend(handles=marks, loc="upper right", ncols=len(marks), fontsize=8, frameon=False)


def _moment(text: str) -> datetime:
    return datetime.fromtimestamp(times.parse_ms(text) / 1000, UTC)
