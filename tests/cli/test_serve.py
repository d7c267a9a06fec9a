from __future__ import annotations

import socket

from tests.cli.conftest import Run


def test_a_taken_port_is_told_before_anything_is_opened(distillery: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = distillery("serve", "--port", str(taken.getsockname()[1]))
    assert result.exit_code == 2
    assert "cannot listen on 127.0.0.1 port" in result.stderr


def test_wrong_settings_are_told_in_one_line(distillery: Run) -> None:
    for arguments, said in (
        (["--token-env", "NO_SUCH_TOKEN"], "NO_SUCH_TOKEN holds no token"),
        (["--queue", "10"], "max_articles=256 could never enter a queue of 10"),
        (["--timeout", "0"], "timeout must be more than 0"),
        (["--feedback", "/no/such/folder"], "there is no folder /no/such/folder"),
        (["-f", "upliftin", "--port", "0"], "did you mean 'uplifting'?"),
    ):
        result = distillery("serve", *arguments)
        assert (result.exit_code, said in result.stderr) == (2, True), result.output
