"""Which types of files programs may take as attachments: those whose content the hub can tell."""

DEFAULT_FILE_TYPES = frozenset({
    "image/jpeg", "image/png", "image/gif", "image/webp",
    "application/pdf",
    "application/msword", "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.ms-excel", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "text/plain", "text/csv",
})  # fmt: skip
"""Of a program that names none. Source: the contract's attachments, 4.1."""

FILE_TYPES = DEFAULT_FILE_TYPES | {
    "image/heic", "image/heif", "image/tiff", "image/bmp",
    "audio/mpeg", "audio/mp4", "audio/ogg", "audio/wav", "audio/webm",
    "video/mp4", "video/3gpp", "video/quicktime", "video/webm",
    "application/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.spreadsheet",
}  # fmt: skip
"""What browsers run (HTML, SVG, scripts) and what computers run is not among them."""

MOST_FILE_BYTES = 50 * 1024 * 1024
MOST_PER_ENTITY = 200
HIGHEST_PER_ENTITY = 10_000
