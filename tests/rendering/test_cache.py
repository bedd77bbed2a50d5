"""The content-addressed picture cache."""

import io
import os
import threading

import numpy as np
import pytest
from PIL import Image

import rendering.cache
from core.errors import BadInput
from rendering import ImageCache
from rendering.cache import png_bytes

KEYS = [f"{i:02x}{'0' * 30}" for i in range(20)]


def picture(seed, size=(64, 64)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8))


@pytest.fixture
def cache(tmp_path):
    return ImageCache(tmp_path / "cache")


def test_what_is_put_is_got_back_exactly(cache):
    pictures = [(key, picture(i)) for i, key in enumerate(KEYS)]
    paths = cache.put_many(pictures)
    for (key, image), path in zip(pictures, paths, strict=True):
        assert path == cache.get(key) == cache.root / key[:2] / f"{key}.png"
        with Image.open(path) as stored:
            assert np.array_equal(np.asarray(stored), np.asarray(image))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (33, 65)])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_any_picture_is_written_so_that_others_read_the_same_pixels(size, mode):
    image = picture(3, size).convert(mode)
    with Image.open(io.BytesIO(png_bytes(image, {"parameters": "späte Sonne"}))) as stored:
        assert stored.text == {"parameters": "späte Sonne"}
        assert np.array_equal(np.asarray(stored), np.asarray(image.convert("RGB")))


def test_a_flat_picture_is_a_small_file():
    assert len(png_bytes(Image.new("RGB", (512, 512), "teal"))) < 8000


def test_pictures_are_loaded_alike_from_memory_and_from_files(cache, monkeypatch):
    monkeypatch.setattr(rendering.cache, "RECENT_BYTES", 2 * 64 * 64 * 3)
    paths = cache.put_many([(key, picture(i).convert("RGBA")) for i, key in enumerate(KEYS[:4])])
    fresh = ImageCache(cache.root)
    for number, path in enumerate(paths):
        for one in (cache, fresh):
            assert one.load(path).mode == "RGB"
            assert one.load(path).tobytes() == picture(number).tobytes()
    for path in paths:
        path.unlink()
    assert cache.load(paths[3]).tobytes() == picture(3).tobytes(), "the newest two are in memory"
    with pytest.raises(FileNotFoundError):
        cache.load(paths[1])


def test_missing_and_empty_put(cache):
    assert cache.get(KEYS[0]) is None
    assert cache.put_many([]) == []


def test_bytes_are_deterministic_and_without_metadata(cache):
    image = picture(1)
    image.info |= {"icc_profile": b"x", "dpi": (72, 72), "comment": "made here"}
    assert png_bytes(image) == png_bytes(picture(1))
    assert cache.put_many([(KEYS[0], image)])[0].read_bytes() == png_bytes(picture(1))


@pytest.mark.parametrize("keep", [0, 4, 30, -1, -13])
def test_a_truncated_file_counts_as_missing_and_is_replaced(cache, keep):
    [path] = cache.put_many([(KEYS[0], picture(0))])
    path.write_bytes(path.read_bytes()[:keep])
    assert cache.get(KEYS[0]) is None
    cache.put_many([(KEYS[0], picture(0))])
    assert cache.get(KEYS[0]) == path


def test_a_flipped_bit_counts_as_missing(cache):
    [path] = cache.put_many([(KEYS[0], picture(0))])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert cache.get(KEYS[0]) is None


def test_another_format_counts_as_missing(cache):
    [path] = cache.put_many([(KEYS[0], picture(0))])
    picture(0).save(path, "JPEG")
    assert cache.get(KEYS[0]) is None


def test_a_write_that_fails_leaves_nothing_behind(cache, monkeypatch):
    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(BadInput, match=r"No space left on device.*--home") as caught:
        cache.put_many([(KEYS[0], picture(0))])
    assert "\n" not in str(caught.value)
    assert [p for p in cache.root.rglob("*") if p.is_file()] == []


def test_a_folder_that_cannot_be_written_is_a_one_line_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="expected a writable folder"):
        ImageCache(tmp_path / "file" / "cache").put_many([(KEYS[0], picture(0))])


def test_a_half_written_file_is_never_seen(cache):
    """Readers see no file or a whole one while it is written over and over."""
    stop = threading.Event()
    seen = []

    def read():
        while not stop.is_set():
            path = cache.root / KEYS[0][:2] / f"{KEYS[0]}.png"
            seen.append(not path.exists() or cache.get(KEYS[0]) is not None)

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(30):
        cache.put_many([(KEYS[0], picture(i))])
    stop.set()
    reader.join()
    assert seen
    assert all(seen)


def test_the_same_key_twice_in_a_batch(cache):
    cache.put_many([(KEYS[0], picture(0))] * 5)
    assert cache.get(KEYS[0]) is not None


@pytest.mark.parametrize("key", ["", "a", "../../etc", "a/b", "ab.png"])
def test_keys_cannot_leave_the_folder(cache, key):
    with pytest.raises(ValueError, match="not a cache key"):
        cache.get(key)
