"""What `pip install .` brings: each file of the packages is in the wheel, since an installation has no repository around it."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ONLY_IN_A_CHECKOUT = {"bench/peers.txt"}  # `make bench-peers` reads it
PACKAGES = ("groundswell/", "stream/", "models/", "alerts/", "dashboard/", "bench/")


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """Names of the files in a wheel made of a copy: building writes beside the sources."""
    if not (ROOT / ".git").exists():
        pytest.skip("Which files belong to the project is asked of git, and this is no checkout.")
    copy, made = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("made")
    for name in tracked():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(made),
        ".",
    ]
    built = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False, timeout=300)
    assert built.returncode == 0, built.stderr
    (wheel,) = made.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def tracked():
    told = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in told.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_the_wheel_holds_all_that_the_packages_need(held):
    needed = {name for name in tracked() if name.startswith(PACKAGES)}
    assert {name for name in needed - held - ONLY_IN_A_CHECKOUT if not name.endswith(".md")} == set()
    assert "models/bundled/README.md" in held, "the model's card goes with the model"


def test_the_wheel_holds_nothing_else(held):
    foreign = {name for name in held if not name.startswith(PACKAGES) and ".dist-info/" not in name}
    assert foreign == set()
