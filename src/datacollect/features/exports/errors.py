"""What is refused about exports and imports."""

from datacollect.kernel.errors import (
    Conflict,
    DataCollectError,
    Forbidden,
    InvalidRequest,
    TooManyRequests,
    Unavailable,
)


class InvalidExport(InvalidRequest):
    """This cannot be exported like that."""

    code = "INVALID_EXPORT"
    help = "docs/reference/exports.md has the parameters, and which go together."


class ExportUnderWay(TooManyRequests):
    """Your account already has an export under way."""

    code = "EXPORT_UNDER_WAY"
    help = "Wait until it has ended, or end it, and ask again after `Retry-After`."


class ExportsBusy(Unavailable):
    """As many exports as the hub makes at once are under way."""

    code = "EXPORTS_BUSY"
    help = "Ask again after `Retry-After`."


class RightWithdrawn(Forbidden):
    """The right to this export was withdrawn while it was sent."""

    code = "EXPORT_RIGHT_WITHDRAWN"
    help = "What has arrived is not whole. Ask an administrator of the program."


class ImportRefused(DataCollectError):
    """The file cannot be imported."""

    status, code = 422, "IMPORT_REFUSED"
    help = "Do as the message says; nothing of the file has been stored."


class FileUnreadable(ImportRefused):
    """The file is not a whole export."""

    code = "IMPORT_FILE_UNREADABLE"
    help = "Export the program again with `--format json`, and see that the file arrives whole."


class FileContradictsItself(ImportRefused):
    """The file is not as it was exported."""

    code = "IMPORT_FILE_CHANGED"
    help = "Use the file as it was exported. What differs was changed, or the source's log wants `datacollect verify`."


class StateDiffers(ImportRefused):
    """The events of the file do not give the entities of the file."""

    code = "IMPORT_STATE_DIFFERS"
    help = "Run `datacollect rebuild` at the source and export again, with the same release as here."


class ProgramNotEmpty(Conflict):
    """The program has events already."""

    code = "PROGRAM_NOT_EMPTY"
    help = "Import under another id (`--as`), or into a program without events."
