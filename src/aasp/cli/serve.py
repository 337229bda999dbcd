"""`aasp serve`: a model that answers over HTTP, by default on this machine only."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import tyro

from aasp.cli.arguments import parse, set_threads
from aasp.cli.running import RunningOptions
from aasp.errors import AaspError

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, kw_only=True)
class Serve(RunningOptions):
    """Serve a model over HTTP: POST a sound file to /embed for its vector, to /predict for its classes, to /search for
    the nearest sounds in an index.

    Only programs on this machine can connect, unless --host says otherwise. Concurrent requests are computed in
    batches; results equal those of `aasp embed`, `predict` and `search`. GET /health, /metrics (Prometheus),
    /openapi.json. On SIGTERM the requests in flight are answered, within --timeout, and the exit code is 0.
    """

    model: tyro.conf.Positional[str]
    """The folder of a model, a classifier, a run or an index, the package's own model, or a model on the hub."""
    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = 8642
    """Port; 0 chooses a free one and prints it."""
    allow_host: tuple[str, ...] = ()
    """Other host names under which this server may be addressed."""
    max_mb: float = 64.0
    """Maximum size of a file in megabytes."""
    max_seconds: float = 300.0
    """Maximum length of a file in seconds."""
    queue: int = 32
    """Maximum number of concurrent requests; more are refused with 503."""
    timeout: float = 60.0
    """Maximum time of a request in seconds."""
    wait_ms: float = 5.0
    """Milliseconds that a sound waits for others to form a batch."""
    threads: int | None = None
    """CPU threads of torch; one per core by default."""


def run(argv: list[str]) -> int:
    arguments = parse(Serve, argv, prog="aasp serve")
    if not 0 <= arguments.port < 65_536:
        raise AaspError(f"--port is {arguments.port}; give a number from 0 to 65535")
    if not 0 <= arguments.wait_ms <= 1_000:
        raise AaspError(f"--wait-ms is {arguments.wait_ms:g}; give a number from 0 to 1000")
    set_threads(arguments.threads)
    try:
        import fastapi
        import prometheus_client
        import uvicorn
    except ImportError as error:
        raise AaspError(f"package missing: {error.name}; install it with `pip install 'aasp-audio[serve]'`") from None
    assert fastapi and prometheus_client and uvicorn

    from dataclasses import replace

    from aasp.serve.answers import answers_of
    from aasp.serve.app import Server
    from aasp.serve.limits import Limits
    from aasp.serve.listening import listen

    limits = Limits(
        max_mb=arguments.max_mb,
        max_seconds=arguments.max_seconds,
        queue=arguments.queue,
        timeout=arguments.timeout,
    )
    running = replace(arguments.running(), workers=0)
    answers = answers_of(arguments.model, arguments.place(), running)
    hosts = {arguments.host, *arguments.allow_host}
    server = Server(arguments.model, answers, limits, batch=arguments.batch, wait_ms=arguments.wait_ms, hosts=hosts)
    if arguments.host not in LOOPBACK:
        text = f"--host {arguments.host}: other machines on the network can connect, without password and encryption"
        print(f"aasp: warning: {text}", file=sys.stderr)

    def ready(address: str) -> None:
        print(f"{arguments.model}: {' '.join(answers)} at {address}", flush=True)

    listen(server, limits, arguments.host, arguments.port, ready)
    return 0
