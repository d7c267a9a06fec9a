"""Running the application: a socket first, then the filters, then uvicorn until a signal."""

from __future__ import annotations

import contextlib
import math
import signal
import socket
from collections.abc import Callable, Sequence

import uvicorn

from distilled_filters.errors import SettingError
from distilled_filters.service.app import create_app
from distilled_filters.service.served import Served
from distilled_filters.service.settings import Settings

__all__ = ["serve"]

# Longer than clients keep a connection (5 s in httpx), so that it is the client who closes and no request is lost.
_KEEP_ALIVE = 30
_BACKLOG = 2048


def serve(
    filters: Sequence[str] | None,
    settings: Settings,
    *,
    host: str,
    port: int,
    threads: int | None,
    say: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is in flight.

    Args:
        filters: Names or requirements; None for all installed ones.
        settings: Limits and token.
        host: The address to listen on, IPv4 or IPv6.
        port: The port; 0 takes a free one.
        threads: Articles scored at once, as for `Filter`.
        say: Tells a person one line.

    Raises:
        SettingError: when the address cannot be had.
        DistilledFiltersError: when no filter opens, or one that was asked for does not exist.
    """
    try:
        # First, because a taken port should not cost the opening of all weights.
        listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=_BACKLOG
        )
    except OSError as error:
        raise SettingError(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
    with listener:
        # Connections inherit it. asyncio leaves sockets alone whose protocol is not named, as here, and the
        # end of every answer would wait 40 ms for the client's delayed acknowledgement of its beginning.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        served = Served(filters, threads=threads)
        for name, problem in served.problems.items():
            say(f"warning: {name} cannot score, and answers with the status `error`: {problem}")
        config = uvicorn.Config(
            create_app(served, settings),
            lifespan="on",
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=settings.connections,
            timeout_keep_alive=_KEEP_ALIVE,
            # A request may first be sent and then scored for that long.
            timeout_graceful_shutdown=math.ceil(2 * settings.timeout) + 1,
        )
        address = f"[{host}]" if ":" in host else host
        say(
            f"serving {len(served.filters)} filters on http://{address}:{listener.getsockname()[1]} "
            f"({served.threads} threads); Ctrl-C ends it"
        )
        # uvicorn raises the signal that ended it once more, for us; a wanted end is no failure.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
    say("stopped")
