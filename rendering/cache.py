"""The content-addressed store of pictures: one PNG file per render, named by everything that determines it."""

import io
import os
import re
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from core.errors import BadInput
from core.interfaces import Renderer
from core.records import RenderRequest
from core.text import digest
from rendering.infotext import png_safe

_KEY = re.compile(r"[0-9A-Za-z_-]{2,128}")
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_WRITERS = 4
"""Threads that write one batch of files. Measured on two cores: 1,200 pictures in 1.2 s; 1.3 s with 2, 1.4 s with 8."""
RECENT_BYTES = 64 * 2**20
"""Most bytes of decoded pictures that are kept in memory."""


def render_key(renderer: Renderer, request: RenderRequest) -> str:
    """Return the content address of a picture: 32 hex digits.

    It is a function of the model's contents (`revision`), every setting that changes a picture, the chunk's shape and
    the request. The renderer's `name` (a path) is left out, so a copied or moved model folder keeps its pictures.
    """
    what = [renderer.revision, dict(renderer.settings), renderer.chunk]
    return digest([*what, request.prompt, request.negative_prompt, request.seed], 32)


@dataclass(frozen=True)
class CacheFile:
    """A file of the cache.

    Attributes:
        path: where it is.
        key: the picture's key, "" for a temporary file.
        size: bytes.
        used: when it was last written or taken from the cache, `time.time()`.
    """

    path: Path
    key: str
    size: int
    used: float


class ImageCache:
    """PNG files at `root/ab/<key>.png`. Several processes may share a root: files appear whole or not at all.

    A file's modification time says when the picture was last used. Pictures that were just stored stay in memory for
    their scorer, up to `RECENT_BYTES`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._recent: dict[Path, Image.Image] = {}
        self._lock = threading.Lock()

    def path(self, key: str) -> Path:
        """Return where the picture of a key is or would be.

        Raises:
            ValueError: the key has characters that a file name should not have.
        """
        if not _KEY.fullmatch(key):
            raise ValueError(f"not a cache key: {key!r}")
        return self.root / key[:2] / f"{key}.png"

    def get(self, key: str) -> Path | None:
        """Return the picture's file, or None when it is missing, truncated or corrupt (checksums are verified).

        A picture that is found counts as used now.
        """
        path = self.path(key)
        try:
            content = path.read_bytes()
            if not content.endswith(_PNG_END):
                return None
            with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
                image.verify()
        except (OSError, SyntaxError, ValueError):  # what Pillow raises for a missing or broken file
            return None
        with suppress(OSError):  # a cache that cannot be written can still be read
            os.utime(path)
        return path

    def load(self, path: Path) -> Image.Image:
        """Return the picture of one of this cache's files, in RGB.

        Raises:
            OSError: the file is missing or broken.
        """
        with self._lock:
            recent = self._recent.get(path)
        if recent is not None:
            return recent
        with Image.open(path) as image:
            return image.convert("RGB")

    def _remember(self, path: Path, image: Image.Image) -> None:
        """Keep a picture in memory, and forget the oldest ones beyond the limit."""
        with self._lock:
            self._recent[path] = image
            size = sum(3 * kept.width * kept.height for kept in self._recent.values())
            while size > RECENT_BYTES:
                oldest = self._recent.pop(next(iter(self._recent)))
                size -= 3 * oldest.width * oldest.height

    def files(self) -> Iterator[CacheFile]:
        """Yield every picture and every temporary file, in no particular order; another process may remove them."""
        for path in self.root.glob("*/*"):
            picture = path.suffix == ".png" and _KEY.fullmatch(path.stem)
            if picture or (path.name.startswith(".") and path.suffix == ".tmp"):
                with suppress(FileNotFoundError):
                    found = path.stat()
                    yield CacheFile(path, path.stem if picture else "", found.st_size, found.st_mtime)

    def put_many(
        self, pictures: Sequence[tuple[str, Image.Image]], texts: Mapping[str, Mapping[str, str]] | None = None
    ) -> list[Path]:
        """Store pictures by key and return their files, in order.

        Each file is written beside its place, synced and renamed; then the folders are synced. When the call returns,
        all pictures survive a crash. The same picture with the same texts always gives the same bytes.

        Args:
            pictures: keys and pictures.
            texts: PNG text chunks by key (`rendering.infotext`). They are not part of a picture's identity: a picture
                that is found in the cache is not written again, so the texts of its first writer stay.

        Raises:
            BadInput: the disk is full or the folder cannot be written; what was written so far stays usable.
        """
        pictures = [(key, image.convert("RGB")) for key, image in pictures]
        paths = [self.path(key) for key, _ in pictures]
        folders = {path.parent for path in paths}
        try:
            changed = sorted(folders | {new.parent for folder in folders for new in _missing(folder)})
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
            with ThreadPoolExecutor(max_workers=_WRITERS) as pool:
                contents = [(image, (texts or {}).get(key, {})) for key, image in pictures]
                list(pool.map(_write, paths, contents))
                list(pool.map(_sync_folder, changed))
        except OSError as error:
            reason = error.strerror or str(error)
            raise BadInput(
                f"picture cache {self.root}: got {reason!r} while writing, expected a writable folder with free space; "
                "free space or choose another --home"
            ) from error
        for path, (_, image) in zip(paths, pictures, strict=True):
            self._remember(path, image)
        return paths


def png_bytes(image: Image.Image, texts: Mapping[str, str] | None = None) -> bytes:
    """Return a picture as PNG: always the same bytes for the same pixels and texts, without any other metadata.

    Pillow's writer takes 108 ms for 512 x 512 pixels and holds Python's lock all the while: on a fast pipeline files
    took longer than pictures (`benchmarks/loop_overhead.py`). With each row's difference to the one above (filter `Up`)
    and runs alone (Z_RLE) it is 7 ms, as small a file, and others go on (PNG specification, sections 9.2 and 10).
    """
    info = PngInfo()
    for keyword, text in png_safe(texts or {}).items():
        info.add_text(keyword, text)
    header = struct.pack(">2I5B", *image.size, 8, 2, 0, 0, 0)  # 8 bits a channel, RGB
    body = [(name, data) for name, data, *_ in info.chunks]
    chunks = [(b"IHDR", header), *body, (b"IDAT", _deflated(np.asarray(image.convert("RGB")))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in chunks)


def _deflated(pixels: NDArray[np.uint8]) -> bytes:
    """Compress pixels (height x width x 3), each row as its difference to the one above."""
    rows = pixels.reshape(len(pixels), -1)
    lines = np.full((len(rows), rows.shape[1] + 1), 2, dtype=np.uint8)  # the first byte of a line names its filter
    lines[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=lines[1:, 1:])
    packer = zlib.compressobj(1, strategy=zlib.Z_RLE)
    return packer.compress(lines.data) + packer.flush()


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))


def _missing(folder: Path) -> Iterable[Path]:
    """Yield the folders that have to be created for this one."""
    while not folder.exists():
        yield folder
        folder = folder.parent


def _write(path: Path, content: tuple[Image.Image, Mapping[str, str]]) -> None:
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(png_bytes(*content))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":  # folders cannot be opened for syncing elsewhere
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
