"""`python -m service.sandbox --book FILE`: the rail alone; its address is printed once it is bound."""

import argparse
import socket
import sys
from pathlib import Path

import uvicorn

from service.sandbox.server import create_app
from service.serving import configuration

SHUTDOWN_SECONDS_MAX = 2  # a hanging fault must not keep the process


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m service.sandbox", description=__doc__)
    options.add_argument("--book", type=Path, required=True, help="the SQLite file that holds what moved")
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, default=0, help="0 takes a free one")
    options.add_argument("--notify-url", help="where notifications go; none are made without it")
    options.add_argument("--secret-file", type=Path, help="holds the secret that signs notifications")
    told = options.parse_args()
    if told.notify_url and not told.secret_file:
        options.error("--notify-url needs --secret-file")
    secret = told.secret_file.read_text(encoding="utf-8").strip() if told.secret_file else ""
    listener = socket.create_server((told.host, told.port), backlog=2048)
    sys.stdout.write(f"http://{told.host}:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    app = create_app(told.book, notify_url=told.notify_url, secret=secret)
    config = configuration(app, log_level="warning", timeout_graceful_shutdown=SHUTDOWN_SECONDS_MAX)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
