"""DataCollect Hub: the sync hub of offline-first field-data programmes."""

import sys
from typing import cast

__version__ = "0.1.0"


def _import_structlog_alone() -> None:
    """Have structlog find no Rich, which it would load for drawing tracebacks on a console, and with it Pygments.

    Nothing here draws any, and they are 4 MiB of each process. Both are there for the command line, which finds them.
    """
    if "structlog" in sys.modules or "rich" in sys.modules:
        return
    modules = cast("dict[str, object]", sys.modules)
    modules["rich"] = None  # as the import system writes that there is none
    try:
        import structlog  # noqa: F401, PLC0415
    finally:
        del modules["rich"]


_import_structlog_alone()
