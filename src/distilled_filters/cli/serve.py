"""`distillery serve`: the installed filters over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from distilled_filters.cli.errors import fail
from distilled_filters.cli.options import FilterOptions

__all__ = ["command"]


def command(
    host: Annotated[str, typer.Option(help="The address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8000,
    filters: FilterOptions = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            show_default=False,
            help="Articles scored at once; by default DISTILLED_FILTERS_THREADS, or the processors at hand.",
        ),
    ] = None,
    token_env: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The environment variable with the bearer token that requests must carry."),
    ] = None,
    feedback: Annotated[
        Path | None, typer.Option(help="A folder that POST /v1/feedback writes JSON lines to.", show_default=False)
    ] = None,
    max_body: Annotated[float, typer.Option(help="MiB of one request's body.")] = 8,
    max_articles: Annotated[int, typer.Option(min=1, help="Articles of one request.")] = 256,
    queue: Annotated[int, typer.Option(min=1, help="Articles of all requests that may wait.")] = 1024,
    timeout: Annotated[float, typer.Option(help="Seconds to send a body in, and to score it in.")] = 30,
    connections: Annotated[int, typer.Option(min=1, help="Open connections.")] = 512,
    max_feedback: Annotated[float, typer.Option(help="MiB of all kept feedback.")] = 256,
) -> None:
    """Serve filters over HTTP until SIGTERM or Ctrl-C; what is in flight then is finished first.

    POST /v1/score takes {"articles": [...], "filters": [...]} and returns a
    result an article. GET /openapi.json describes all routes, docs/service.md
    explains them.

    [bold]Examples[/bold]

      distillery serve
      distillery serve -f uplifting -f "belonging==1.*" --port 9000
      SERVICE_TOKEN=... distillery serve --host 0.0.0.0 --token-env SERVICE_TOKEN
      curl -s localhost:8000/v1/score -H 'content-type: application/json' -d '{"articles": [{"content": "..."}]}'
    """
    try:
        from distilled_filters.service.server import serve
    except ModuleNotFoundError as error:
        fail(f"serving needs {error.name}: python -m pip install 'distilled-filters[serve]'")
        return
    from distilled_filters.cli.terminal import notes
    from distilled_filters.service.settings import Settings, token_from

    settings = Settings(
        max_body=int(max_body * 2**20),
        max_articles=max_articles,
        queue=queue,
        timeout=timeout,
        connections=connections,
        feedback=feedback,
        max_feedback=int(max_feedback * 2**20),
        token=token_from(token_env),
    )
    serve(
        filters, settings, host=host, port=port, threads=threads, say=lambda line: notes().print(line, soft_wrap=True)
    )
