"""The alarms of docs/operations.md can sound at the first event: what they count stands at 0 before anything happened."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

OPERATIONS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
COUNTED = sorted(set(re.findall(r"(?:rate|increase)\((groundswell_\w+_total)(?:\{(\w+)=\"(\w+)\"\})?", OPERATIONS)))
FRESH = """
import sys
from prometheus_client import generate_latest
from groundswell import telemetry
telemetry.at_zero(sys.argv[1])
print(generate_latest().decode())
"""


@pytest.fixture(scope="module")
def fresh() -> str:
    """What a process of each stage shows before it has read anything."""
    stages = ("ingest", "tag", "aggregate", "deliver", "dashboard")
    return "".join(
        subprocess.run([sys.executable, "-c", FRESH, one], capture_output=True, text=True, check=True).stdout
        for one in stages
    )


@pytest.mark.parametrize(("metric", "label", "value"), COUNTED)
def test_what_an_alarm_counts_is_there_at_zero(fresh: str, metric: str, label: str, value: str) -> None:
    rows = [
        line
        for line in fresh.splitlines()
        if re.match(rf"{metric}[ {{]", line) and (not label or f'{label}="{value}"' in line)
    ]
    assert rows, "it would begin at 1, and the alarm would not hear of the first"
    assert all(row.endswith(" 0.0") for row in rows)


def test_each_reason_of_a_dead_letter_is_there_at_zero(fresh: str) -> None:
    for reason in ("not_json", "wrong_shape", "unknown_version", "poison", "model_crash"):
        assert f'groundswell_dead_letters_total{{reason="{reason}",stage="tag"}} 0.0' in fresh
