"""The reference page of the commands, made from the commands."""

from collections.abc import Iterator
from typing import Any

import typer
from typer.core import TyperArgument, TyperGroup, TyperOption

_INTRO = """\
# Command line

Made by `datacollect reference command-line`. `datacollect COMMAND --help` prints it in the terminal, with the default values of options; `datacollect --version` prints the version. How to use the commands:
[automate with the command line](../how-to/automate-with-the-command-line.md); who they act as, and what may run beside a
server: [decision 34](../decisions/0034-the-command-line.md).

| exit code | means |
|---|---|
| 0 | done |
| 1 | refused: one line on standard error says why, with `--json` an object with `code` and `message`. `program lint`: there are errors |
| 2 | the command line itself is wrong: an unknown option, an impossible value. Nothing was opened |
| 3 | something is wrong (`verify`, `rebuild`, `attachments check`, `secrets reseal`). `permissions explain`: the account may not |

What was asked for is on standard output, everything else on standard error. Where commands read [settings](settings.md), they read
them as `serve` does: from the environment and from `.env` in the working folder.
"""


def lines(context: typer.Context) -> Iterator[str]:
    root = context.find_root().command
    yield _INTRO
    yield from _section(root, "datacollect", context)


def _section(command: Any, name: str, context: typer.Context) -> Iterator[str]:
    if isinstance(command, TyperGroup):
        for sub in sorted(command.commands):
            yield from _section(command.commands[sub], f"{name} {sub}", context)
        return
    arguments = [param for param in command.params if isinstance(param, TyperArgument)]
    options = [param for param in command.params if isinstance(param, TyperOption) and not param.hidden]
    usage = " ".join([name, *(["[OPTIONS]"] if options else []), *(_usage(one, context) for one in arguments)])
    yield f"## `{usage}`"
    yield ""
    yield " ".join((command.help or "").split())
    yield ""
    rows = [(f"`{_name(one, context)}`", _help(one)) for one in arguments]
    rows += [(f"`{_name(one, context)}`", _help(one)) for one in options]
    if rows:
        yield "| | |"
        yield "|---|---|"
        yield from (f"| {left} | {right} |" for left, right in rows)
        yield ""


def _usage(argument: TyperArgument, context: typer.Context) -> str:
    name = _name(argument, context)
    return name if argument.required else f"[{name}]"


def _name(param: TyperArgument | TyperOption, context: typer.Context) -> str:
    if isinstance(param, TyperArgument):
        assert param.metavar is not None, f"the help would show {param.name}"
        return param.metavar + ("…" if param.nargs == -1 else "")
    names = "/".join([*param.opts, *param.secondary_opts])
    if param.is_flag:
        return names
    kind = param.display_type(context).replace("list[str]", "str").replace(" range", "").replace("|", "\\|")
    return f"{names} {param.metavar or kind}"


def _help(param: TyperArgument | TyperOption) -> str:
    return " ".join((param.help or "").split()).replace("|", "\\|")
