"""`python -m service.sandbox --ledger FILE`: the rail alone; its address is printed once it is bound."""

import argparse
import socket
import sys
from pathlib import Path

import uvicorn

from service.http_limits import HttpLimits
from service.http_protocol import http11_protocol
from service.sandbox.server import create_app

SHUTDOWN_SECONDS_MAX = 2  # a hanging fault must not keep the process


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m service.sandbox", description=__doc__)
    parser.add_argument("--ledger", type=Path, required=True, help="the SQLite file that is the rail's ledger")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--notify-url", help="where notifications go; none are made without it")
    parser.add_argument("--secret-file", type=Path, help="holds the secret that signs notifications")
    options = parser.parse_args()
    if options.notify_url and not options.secret_file:
        parser.error("--notify-url needs --secret-file")
    secret = options.secret_file.read_text(encoding="utf-8").strip() if options.secret_file else ""
    listener = socket.create_server((options.host, options.port), backlog=2048)
    sys.stdout.write(f"http://{options.host}:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    app = create_app(options.ledger, notify_url=options.notify_url, secret=secret)
    config = uvicorn.Config(
        app,
        http=http11_protocol(HttpLimits()),
        ws="none",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        log_level="warning",
        timeout_graceful_shutdown=SHUTDOWN_SECONDS_MAX,
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
