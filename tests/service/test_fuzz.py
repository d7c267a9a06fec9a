"""The service under requests that are made from its own description, right ones and wrong ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from distilled_filters.service.settings import Settings
from tests.service.conftest import Limited


@pytest.mark.slow
def test_every_answer_is_as_described(limited: Limited, tmp_path: Path) -> None:
    """Schemathesis: edge cases of every rule of the description, then random bodies, with all its checks."""
    feedback = tmp_path / "feedback"
    feedback.mkdir()
    with limited(Settings(max_articles=4, feedback=feedback)) as http:
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{http.base_url}/openapi.json"),
            *("--max-examples", "10", "--seed", "1", "--no-color"),
        ]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert run.returncode == 0, run.stdout
        assert "Tested: 7" in run.stdout
        alive(http)


def alive(http: httpx.Client) -> None:
    health = http.get("/health").json()
    assert (health["status"], health["waiting"]) == ("ok", 0)
    assert "distillery_body_bytes 0.0" in http.get("/metrics").text
