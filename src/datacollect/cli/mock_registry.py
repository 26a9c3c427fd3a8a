"""`datacollect mock-registry`: a registry to exchange with, for development, demonstrations and tests."""

import secrets
import signal
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn

from datacollect.kernel.errors import StartupError
from datacollect.testing.mock_registry import MockRegistry
from datacollect.testing.mock_registry.demo import add_demo_people
from datacollect.testing.mock_registry.serving import registry_app


def serve_registry(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 4000,
    db: Annotated[Path | None, typer.Option(help="SQLite file. [default: nothing is kept]")] = None,
    client_id: Annotated[str, typer.Option(help="Client that may sign in.")] = "mock-client",
    client_secret: Annotated[
        str | None, typer.Option(envvar="MOCK_REGISTRY_SECRET", help="Its secret. [default: a random one, printed]")
    ] = None,
    demo: Annotated[int, typer.Option(help="Made-up persons to begin with, in households.", min=0, max=100_000)] = 0,
) -> None:
    """Run a registry that speaks the protocol of the `mock` adapter, until SIGTERM or SIGINT. Not for production."""
    secret = client_secret or secrets.token_urlsafe(24)
    registry = _opened(db, client_id, secret)
    told = [f"Client {client_id}" + ("." if client_secret else f" with the secret {secret}")]
    if demo:
        told.append(f"{add_demo_people(registry, demo)} persons are new.")
    # uvicorn raises the signal again for whoever handled it before: a clean stop would be death by signal.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        app = registry_app(registry)
        config = uvicorn.Config(app, host=host, port=port, log_level="critical", access_log=False, lifespan="off")
        _Server(config, told).run()
    except SystemExit:
        raise StartupError(f"Cannot listen on {host}:{port}. Choose a free --port.") from None
    finally:
        registry.close()


def _opened(db: Path | None, client_id: str, secret: str) -> MockRegistry:
    try:
        return MockRegistry(db, client_id=client_id, client_secret=secret)
    except sqlite3.Error as error:
        raise StartupError(f"{db} cannot be opened as the registry's database ({error}).") from None


class _Server(uvicorn.Server):
    """Says where it is once it listens."""

    def __init__(self, config: uvicorn.Config, told: Sequence[str]) -> None:
        super().__init__(config)
        self._told = told

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        address = f"http://{self.config.host}:{port}"
        for line in (f"Mock registry on {address} (in a browser it shows what it holds)", *self._told):
            typer.echo(line, err=True)
