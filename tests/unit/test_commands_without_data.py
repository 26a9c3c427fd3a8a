"""Where there is no hub's data, commands say so, and leave no database behind that would look like a hub's."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from datacollect.cli.commands import command_line
from datacollect.kernel.errors import StartupError
from tests.unit.test_mistyped_commands import COMMANDS, arguments

NEED_NO_DATA = {
    "serve", "migrate", "import",  # begin a hub
    "simulate", "openapi", "mock-registry", "stand-in", "dev-env", "program lint",
}  # fmt: skip
MORE = {
    "user create": ["--generate"],
    "user set-password": ["--generate"],
    "user delete": ["--yes"],
    "user roles add": ["south:viewer"],
    "user roles remove": ["south"],
    "program purge": ["--yes-purge", "south"],
}


@pytest.mark.parametrize(
    "name", [name for name in COMMANDS if name not in NEED_NO_DATA and not name.startswith("reference ")]
)
def test_a_command_says_that_there_is_no_data_and_makes_none(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("POSTGRES", raising=False)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    line = [*name.split(), *arguments(COMMANDS[name]), *MORE.get(name, ())]
    ended = CliRunner().invoke(command_line(line), line)
    told = str(ended.exception) if isinstance(ended.exception, StartupError) else ended.stderr
    assert told.removeprefix("datacollect: ").startswith(f"There is no hub's data in DATA_DIR, {tmp_path}/data."), told
    assert (ended.exit_code, list(tmp_path.iterdir())) == (1, [])
