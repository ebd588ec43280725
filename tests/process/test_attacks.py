"""The script that measures attacks runs, ends by itself and leaves nothing behind."""

import re
import subprocess
import sys
from pathlib import Path

from processes import PATIENCE

SCRIPT = Path(__file__).resolve().parents[2] / "bench" / "attacks.py"


def test_an_attack_is_measured_and_leaves_nothing_behind(tmp_path):
    options = ["--runs", "1", "--contacts", "100", "--only", "refusals"]
    done = subprocess.run(
        [sys.executable, SCRIPT, *options],
        env={"TMPDIR": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE,
    )
    assert done.returncode in (0, 1), done.stderr  # 1: a goal missed under load
    head, _, row = done.stdout.splitlines()
    assert head.startswith("| attack | p99 | worst | memory |")
    assert re.match(r"\| refusals \| \**[\d.,]+ ×\** \| \**\d+\.\d\d s\** \|", row), row
    assert list(tmp_path.iterdir()) == []
