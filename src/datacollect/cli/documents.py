"""Commands that print documents."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from datacollect.app import create_app
from datacollect.cli.failures import print_bytes
from datacollect.http.pages import ApiDescription
from datacollect.settings import Settings


def print_openapi(
    yaml: Annotated[bool, typer.Option("--yaml", help="Print YAML instead of JSON.")] = False,
) -> None:
    """Print the OpenAPI document. Needs no configuration and no database."""
    with tempfile.TemporaryDirectory() as folder:
        description = ApiDescription(create_app(Settings(_env_file=None, data_dir=Path(folder))))
        print_bytes((description.as_yaml if yaml else description.as_json) + b"\n")
