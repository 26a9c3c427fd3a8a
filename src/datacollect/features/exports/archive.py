"""A zip archive that is written from its beginning to its end, and never held."""

import io
import time
import zipfile
from typing import IO

from datacollect.kernel.clock import Millis

_FIRST_YEAR, _LAST_YEAR = 1980, 2107
_LEVEL = 1
"""Of deflate: most of the gain for a third of the time."""


class _Sink(io.RawIOBase):
    """Where the archive is written: nowhere to seek in, so that it says sizes behind each file."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        self.parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        written = b"".join(self.parts)
        self.parts.clear()
        return written


class ZipWriter:
    """Files one after the other; `take` gives what has been written since it was called last."""

    def __init__(self, now: Millis, *, large_files: bool) -> None:
        """With `large_files` each may have more than 2 GiB, in a form of zip that Excel does not read."""
        self._sink = _Sink()
        self._zip = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL)
        self._large_files = large_files
        moment = time.gmtime(now // 1000)
        self._moment = (max(_FIRST_YEAR, min(moment.tm_year, _LAST_YEAR)), *moment[1:6])
        self._file: IO[bytes] | None = None

    def begin(self, name: str) -> None:
        """End the file before, and begin the next one."""
        self._end_file()
        info = zipfile.ZipInfo(name, self._moment)
        info.compress_type = zipfile.ZIP_DEFLATED
        info._compresslevel = _LEVEL  # type: ignore[attr-defined] # there is no other way before 3.13
        info.external_attr = 0o600 << 16
        self._file = self._zip.open(info, "w", force_zip64=self._large_files)

    def write(self, data: bytes) -> None:
        assert self._file is not None
        self._file.write(data)

    def close(self) -> None:
        """Write the end, also of one that nobody takes any more; harmless when it is written."""
        self._end_file()
        self._zip.close()

    def take(self) -> bytes:
        return self._sink.take()

    def _end_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
