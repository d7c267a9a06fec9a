"""The Containerfile, as far as it goes without a container runtime: its command and its health check work."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.service.conftest import serving

TEXT = re.sub(r"\\\n\s*", "", (ROOT / "Containerfile").read_text(encoding="utf-8"))


def instruction(name: str) -> str:
    """Return what follows the last instruction of a name."""
    return str(re.findall(rf"^{name} (.*)$", TEXT, flags=re.MULTILINE)[-1])


def test_what_is_copied_is_there() -> None:
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", TEXT, flags=re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    assert len(sources) >= 6
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_nothing_runs_as_root_or_needs_a_build_tool() -> None:
    assert int(instruction("USER")) > 0
    assert TEXT.index("\nUSER ") < TEXT.index("\nENTRYPOINT ")
    assert TEXT.index("COPY --from=build /venv") > TEXT.rindex("\nFROM ")


@pytest.mark.slow
def test_the_command_serves_and_the_health_check_sees_it() -> None:
    program, command, *arguments = json.loads(instruction("ENTRYPOINT"))
    assert (program, command) == ("distillery", "serve")
    assert arguments[-2:] == ["--port", "8000"]
    python, dash_c, code = json.loads(instruction("HEALTHCHECK").partition("CMD ")[2])
    assert (python, dash_c) == ("python", "-c")

    def healthy(port: str) -> bool:
        assert "127.0.0.1:8000" in code
        asked = code.replace("127.0.0.1:8000", f"127.0.0.1:{port}")
        environment = {**os.environ, "NO_PROXY": "*"}
        return subprocess.run([sys.executable, "-c", asked], env=environment, capture_output=True).returncode == 0

    with serving(*arguments[:-2], "-f", "uplifting") as process:
        port = process.url.rpartition(":")[2]
        assert healthy(port)
    assert not healthy(port)
