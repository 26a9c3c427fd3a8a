"""Help for a first start on a developer's machine."""

import os
import secrets
import string
from pathlib import Path
from typing import Annotated

import typer

from datacollect.kernel.errors import StartupError

_ADMIN_EMAIL = "admin@hdm.example"
_KINDS = (string.ascii_uppercase, string.ascii_lowercase, string.digits, "-_.!")
_PASSWORD_LENGTH = 20


def write_dev_env(
    path: Annotated[Path, typer.Option(help="File to write.")] = Path(".env"),
) -> None:
    """Write a development `.env` with random secrets, unless there is one, and print the admin login once."""
    password = _random_password()
    lines = [
        "# Written by `datacollect dev-env` for development. Not for production.",
        "NODE_ENV=development",
        f"ADMIN_EMAIL={_ADMIN_EMAIL}",
        f"ADMIN_PASSWORD={password}",
        f"JWT_SECRET={secrets.token_urlsafe(48)}",
        f"SECRETS_KEY={secrets.token_urlsafe(48)}",
        "CORS_ORIGINS=*",
        f"PUBLIC_BASE_URL=http://localhost:{os.environ.get('SYNC_SERVER_PORT') or 3000}",
        "ALLOW_PRIVATE_ADAPTER_HOSTS=true",
        "OTP_EXPOSE_DEV_CODE=true",
    ]
    try:
        # O_EXCL: never over a file that is there; 0600 from the first moment, because it holds secrets.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    except OSError as error:
        raise StartupError(
            f"{path.absolute()} cannot be written ({error.strerror}). Run this in a folder of yours."
        ) from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
    except OSError as error:
        path.unlink(missing_ok=True)  # what is left of it would be taken for somebody's own
        raise StartupError(f"{path.absolute()} cannot be written ({error.strerror}).") from error
    typer.echo(f"Wrote {path} with random secrets. Sign in as {_ADMIN_EMAIL} with the password {password}")


def _random_password() -> str:
    """A password with every kind of character the rules ask for."""
    draw = secrets.SystemRandom()
    characters = [draw.choice(kind) for kind in _KINDS]
    characters += draw.choices(string.ascii_letters + string.digits, k=_PASSWORD_LENGTH - len(characters))
    draw.shuffle(characters)
    return "".join(characters)
