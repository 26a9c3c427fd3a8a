"""What is refused about attachments."""

from collections.abc import Iterable

from datacollect.kernel.errors import (
    Conflict,
    DataCollectError,
    Forbidden,
    InvalidRequest,
    NotFound,
    PayloadTooLarge,
    UnsupportedMedia,
)


class AttachmentNotFound(NotFound):
    """Attachment not found"""

    code = "ATTACHMENT_NOT_FOUND"
    help = "Check the guid and `configId`. It may have been deleted, or its entity; or it is beyond your areas."


class NoFile(InvalidRequest):
    """No file provided"""

    code = "ATTACHMENT_FILE_MISSING"
    help = "Send the file as the part `file`, with a file name, of a `multipart/form-data` body."


class NoEntityGuid(InvalidRequest):
    """entityGuid is required"""

    code = "ATTACHMENT_ENTITY_MISSING"
    help = "Name the entity in the text part `entityGuid`."


class InvalidAttachment(InvalidRequest):
    """This cannot be an attachment."""

    code = "INVALID_ATTACHMENT"
    help = "Correct the part that the message names."


class EmptyFile(InvalidRequest):
    """File size must be greater than 0 bytes"""

    code = "ATTACHMENT_EMPTY"
    help = "Send the file again once it can be read; an empty one is not stored."


class HashMismatch(InvalidRequest):
    """The file that arrived has another SHA-256 than the part `hash` says. Nothing is stored."""

    code = "ATTACHMENT_HASH_MISMATCH"
    help = "Send the file again; if it fails again, make the hash anew: SHA-256 of the bytes, 64 hexadecimal digits."


class FileLargerThanAllowed(PayloadTooLarge):
    """File too large"""

    code = "ATTACHMENT_TOO_LARGE"
    help = "Send a smaller file: the program's config says how large it may be (`attachments.maxBytes`)."


class TypeNotAllowed(UnsupportedMedia):
    """This type of file is not allowed here."""

    code = "ATTACHMENT_TYPE_NOT_ALLOWED"
    help = "Send a file of one of the types in the message; the program's config may name others (`attachments.types`)."

    def __init__(self, declared: str, allowed: Iterable[str]) -> None:
        super().__init__(f'MIME type "{declared[:100]}" is not allowed. Allowed types: {", ".join(sorted(allowed))}')


class ContentNotOfType(UnsupportedMedia):
    """The file's content is not of the type it is declared as."""

    code = "ATTACHMENT_CONTENT_MISMATCH"
    help = "Declare the type that the file has, or correct the file: renaming does not change what it is."

    def __init__(self, declared: str, looks_like: str) -> None:
        super().__init__(f"The file's content is not {declared}: it looks like {looks_like}.")


class EntityUnknown(NotFound):
    """There is no such entity within your reach."""

    code = "ATTACHMENT_ENTITY_UNKNOWN"
    help = "Push the event that creates the entity, then send the file again."


class EntityDeleted(Conflict):
    """The entity has been deleted; nothing can be attached to it any more."""

    code = "ATTACHMENT_ENTITY_DELETED"
    help = "Pull, and attach the file to an entity that exists."


class GuidTaken(Conflict):
    """Another attachment has this guid already."""

    code = "ATTACHMENT_GUID_TAKEN"
    help = "Give a new file a new guid. The same file for the same entity may be sent again as often as needed."


class AttachmentDeleted(Conflict):
    """The attachment with this guid has been deleted, and stays so."""

    code = "ATTACHMENT_DELETED"
    help = "Do not send it again; to attach the file anew give it a new guid."


class TooManyAttachments(Conflict):
    """The entity has as many attachments as it may have."""

    code = "ATTACHMENTS_OF_ENTITY_FULL"
    help = "Delete some of them first, or have the limit raised (`attachments.maxPerEntity`)."


class ProgramFull(Conflict):
    """The program's attachments take up all the room they may have."""

    code = "ATTACHMENTS_OF_PROGRAM_FULL"
    help = "Delete attachments first, or ask the operator for more room (`ATTACHMENT_QUOTA`)."


class InvalidAttachmentQuery(InvalidRequest):
    """This cannot be asked of attachments."""

    code = "INVALID_ATTACHMENT_QUERY"
    help = "Correct the parameter that the message names."


class LinkInvalid(Forbidden):
    """The link is not valid, or not any more."""

    code = "ATTACHMENT_LINK_INVALID"
    help = "Ask for a new link with `POST /api/attachments/{guid}/link`."


class RangeNotSatisfiable(DataCollectError):
    """The file has no such part."""

    status, code = 416, "RANGE_NOT_SATISFIABLE"
    help = "Ask for a range within the size that `Content-Range` names, or for the whole file."


class TransferFailed(DataCollectError):
    """The folder of attachments cannot be written or read."""

    status, code = 422, "ATTACHMENTS_TRANSFER_FAILED"
    help = "Do as the message says, and run the command again: what was done is not done twice."


class ImportContradicts(TransferFailed):
    """The folder of attachments is not as it was exported."""

    code = "ATTACHMENTS_IMPORT_CHANGED"
    help = "Use the folder as it was exported, or export it again; run `datacollect attachments check --deep` at the source."
