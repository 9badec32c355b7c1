"""Pictures of which a few bytes would take much memory or time are refused in one line, or decoded without either."""

import io
import json
import re
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shards_tools import picture_limits
from shards_tools.conversion import AS_STORED, ON_WHITE, Conversion
from shards_tools.decode import convert, decode
from shards_tools.errors import Error
from trainables.data.pictures import read_file

MEMORY_BYTES = 700 * 2**20  # a picture of MAX_PIXELS takes this much
UPRIGHT = Conversion(exif_orientation=True)


def encoded(image: Image.Image, kind: str, **settings: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


@cache
def packed_zeros(num_bytes: int) -> bytes:
    packer = zlib.compressobj(9)
    part = bytes(2**20)
    return b"".join(packer.compress(part) for _ in range(num_bytes // 2**20)) + packer.flush()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(*before: bytes, after: tuple[bytes, ...] = (), pixels: bytes | None = None) -> bytes:
    """A black PNG of 8 x 8 px with chunks before and after those of its pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", pixels if pixels is not None else zlib.compress(bytes(8 * 25)))
    return b"\x89PNG\r\n\x1a\n" + b"".join([header, *before, data, *after]) + chunk(b"IEND", b"")


def frame_of_apng(number: int, side: int) -> bytes:
    return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, side, side, 0, 0, 1, 1, 0, 0))


def gif(screen: int, frame: int, before: bytes = b"", frames: int = 1) -> bytes:
    """A black GIF whose screen and frames have these widths and heights."""
    pixels = encoded(Image.new("P", (8, 8)), "GIF")
    data = pixels[pixels.index(b",", 13 + 3 * (2 << pixels[10] % 8)) + 10 : -1]
    head = b"GIF89a" + struct.pack("<HHBBB", screen, screen, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return head + before + (b"," + struct.pack("<HHHHB", 0, 0, frame, frame, 0) + data) * frames + b";"


def webp(canvas: int, frames: int = 1) -> bytes:
    """An animated WebP of a canvas of this width and height, with frames of 8 x 8 px."""
    still = encoded(Image.new("RGB", (8, 8)), "WEBP", lossless=True)[12:]
    frame = bytes(6) + b"\7\0\0\7\0\0\1\0\0\0" + still
    frame = b"ANMF" + struct.pack("<I", len(frame)) + frame
    size = struct.pack("<I", canvas - 1)[:3]
    body = b"VP8X\x0a\0\0\0\2\0\0\0" + size + size + b"ANIM\6\0\0\0" + bytes(6) + frame * frames
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def avif(side: int) -> bytes:
    """An AVIF that claims this width and height."""
    small = encoded(Image.new("RGB", (64, 64)), "AVIF")
    claim = b"ispe\0\0\0\0" + struct.pack(">II", side, side)
    return small.replace(b"ispe\0\0\0\0" + struct.pack(">II", 64, 64), claim)


def tiff(entries: dict[int, tuple[int, int, int]], data: bytes) -> bytes:
    """A gray TIFF of 8 x 8 px with these tags, each a type, a count and a value; the value -1 is where `data` is."""
    known = {256: (4, 1, 8), 257: (4, 1, 8), 258: (3, 1, 8), 262: (3, 1, 1), 277: (3, 1, 1)}
    tags = {**known, **entries}
    place = 8 + 2 + 12 * len(tags) + 4
    rows = [struct.pack("<HHII", tag, *entry[:2], place if entry[2] < 0 else entry[2]) for tag, entry in tags.items()]
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + b"".join(rows) + bytes(4) + data


def tiff_of_tile(side: int) -> bytes:
    data = packed_zeros(2**20)
    tile = {322: (4, 1, side), 323: (4, 1, side), 324: (4, 1, -1), 325: (4, 1, len(data))}
    return tiff({259: (3, 1, 8), **tile}, data)


def tiff_of_overlapping_tags() -> bytes:
    size = 2**20
    strip = {259: (3, 1, 1), 273: (4, 1, -1), 278: (4, 1, 8), 279: (4, 1, 64)}
    return tiff({**strip, **{1_000 + tag: (1, size, -1) for tag in range(5_000)}}, bytes(size))


def jpeg(mode: str, segments: bytes) -> bytes:
    picture = encoded(Image.new(mode, (8, 8)), "JPEG")
    return picture[:2] + segments + picture[2:]


def exif(body: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", 8 + len(body)) + b"Exif\0\0" + body


TOO_LARGE = "more than 67,108,864 pixels|exceeds limit|too many pixels|header is damaged"
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "GIF, giant screen": (lambda: gif(65_535, 8), TOO_LARGE),
    "GIF, giant frame": (lambda: gif(8, 65_535), TOO_LARGE),
    "GIF, frame a little too large": (lambda: gif(8, 9_000), TOO_LARGE),
    "GIF, many comments": (lambda: gif(8, 8, b"!\xfe\1a\0" * 200_000), "more than 100,000 blocks before"),
    "GIF, one long comment": (lambda: gif(8, 8, b"!\xfe" + b"\1a" * 200_000 + b"\0"), "more than 100,000 blocks"),
    "GIF, nothing": (lambda: gif(8, 8, bytes(2**21)), "more than 100,000 blocks"),
    "WebP, giant canvas": (lambda: webp(16_383), TOO_LARGE),
    "WebP, a little too large": (lambda: webp(9_000), TOO_LARGE),
    "AVIF, giant": (lambda: avif(60_000), TOO_LARGE),
    "AVIF, a little too large": (lambda: avif(9_000), TOO_LARGE),
    "APNG, giant frame": (lambda: png(chunk(b"acTL", bytes(7) + b"\2"), frame_of_apng(0, 65_535)), TOO_LARGE),
    "PNG, many chunks": (lambda: png(chunk(b"abCd", b"") * 200_000), "more than 100,000 chunks"),
    "PNG, a chunk that claims 2 GB": (lambda: png(b"\x7f\xff\xff\xfftEXta"), "Truncated File Read"),
    "PNG, few pixels": (lambda: png(pixels=zlib.compress(b"")), "broken image"),
    "TIFF, giant tile": (lambda: tiff_of_tile(40_000), r"tiles of 40000 x 40000 px, which is more than"),
    "JPEG, many comments": (lambda: jpeg("CMYK", b"\xff\xfe\0\2" * 200_000), "more than 100,000 segments"),
    "JPEG, many EXIF segments": (lambda: jpeg("CMYK", exif(b"a") * 2_000), "more than 100 EXIF segments"),
    "JPEG, nothing": (lambda: jpeg("CMYK", b"\xff\xfe\0\2" + bytes(200_000)), "more than 100,000 segments"),
}
DECODED: dict[str, Callable[[], bytes]] = {
    "GIF, many frames": lambda: gif(8, 8, frames=20_000),
    "WebP, many frames": lambda: webp(8, frames=20_000),
    "APNG, many frames": lambda: png(
        chunk(b"acTL", struct.pack(">II", 20_000, 0)),
        frame_of_apng(0, 8),
        after=tuple(frame_of_apng(number, 8) for number in range(1, 20_000)),
    ),
    "APNG, claims many frames": lambda: png(chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))),
    "PNG, zTXt of 1 GB": lambda: png(chunk(b"zTXt", b"a\0\0" + packed_zeros(2**30))),
    "PNG, iTXt of 1 GB": lambda: png(chunk(b"iTXt", b"a\0\1\0\0\0" + packed_zeros(2**30))),
    "PNG, iCCP of 1 GB": lambda: png(chunk(b"iCCP", b"a\0\0" + packed_zeros(2**30))),
    "PNG, 1,000 zTXt of 1 MB": lambda: png(chunk(b"zTXt", b"a\0\0" + packed_zeros(2**20 - 2**10)) * 1_000),
    "PNG, many texts": lambda: png(chunk(b"tEXt", b"a\0") * 200_000),
    "PNG, 1 GB behind its pixels": lambda: png(pixels=packed_zeros(2**30)),
    "TIFF, overlapping tags": tiff_of_overlapping_tags,
    "TIFF, tile of ordinary size": lambda: tiff_of_tile(1_024),
    "JPEG, some EXIF segments": lambda: jpeg("CMYK", exif(b"a") * 100),
    "JPEG, many comments, decoded by libjpeg": lambda: jpeg("RGB", b"\xff\xfe\0\2" * 200_000),
}
DECODE_ALL = """
import json, resource, sys
from pathlib import Path
from shards_tools.conversion import ON_WHITE
from shards_tools.decode import convert
from shards_tools.errors import Error
now = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData:")) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (now + int(sys.argv[2]), resource.RLIM_INFINITY))
said = {}
for file in sorted(Path(sys.argv[1]).iterdir()):
    try:
        said[file.name] = list(convert(file.read_bytes(), "x", ON_WHITE)[1].shape)
    except Error as mistake:
        said[file.name] = str(mistake)
    except BaseException as failure:
        said[file.name] = repr(failure)
print(json.dumps(said))
"""


def answers(folder: Path, bombs: dict[str, Callable[[], bytes]]) -> dict[str, object]:
    """Decode the bombs in a process of little memory, which may print nothing else."""
    for number, make in enumerate(bombs.values()):
        (folder / f"{number:02d}").write_bytes(make())
    command = [sys.executable, "-c", DECODE_ALL, folder, str(MEMORY_BYTES)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert done.stderr == ""
    said = json.loads(done.stdout)
    return {name: said[f"{number:02d}"] for number, name in enumerate(bombs)}


@pytest.mark.slow
def test_a_bomb_is_refused_in_one_line(tmp_path: Path) -> None:
    said = answers(tmp_path, {name: make for name, (make, _) in REFUSED.items()})
    for name, (_, reason) in REFUSED.items():
        answer = said[name]
        assert isinstance(answer, str), name
        assert answer.startswith("x "), f"{name}: {answer}"
        assert re.search(reason, answer), f"{name}: {answer}"
        assert "\n" not in answer


@pytest.mark.slow
def test_a_bomb_besides_the_pixels_takes_no_memory(tmp_path: Path) -> None:
    assert answers(tmp_path, DECODED) == {name: [8, 8, 3] for name in DECODED}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF"])
def test_many_parts_are_refused_before_pil_reads_them(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = {
        "JPEG": jpeg("CMYK", b"\xff\xfe\0\2" * 9),
        "PNG": png(chunk(b"abCd", b"") * 9),
        "GIF": gif(8, 8, b"!\xfe\1a\0" * 9),
    }[kind]
    decode(data, "x")
    monkeypatch.setattr(picture_limits, "MAX_PARTS", 5)
    monkeypatch.setattr(Image, "open", None)
    with pytest.raises(Error, match=r"x cannot be used: this .* which would take long to read"):
        decode(data, "x")


def test_an_orientation_in_many_exif_segments_is_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    data = jpeg("RGB", exif(b"a") * 101)
    monkeypatch.setattr(Image, "open", None)
    assert decode(data, "x", conversion=UPRIGHT).shape == (8, 8, 3)


@pytest.mark.parametrize("conversion", [AS_STORED, ON_WHITE, UPRIGHT])
def test_a_file_larger_than_any_image_is_refused_unread(
    conversion: Conversion, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(picture_limits, "MAX_FILE_BYTES", 300)
    with pytest.raises(Error, match="this PNG has more than 300 bytes"):
        convert(png(chunk(b"tEXt", bytes(300))), "x", conversion)
    with open(tmp_path / "sparse.png", "wb") as file:
        file.truncate(2**40)
    assert len(read_file(tmp_path / "sparse.png")) == 301


def test_a_sparse_file_of_a_terabyte_stops_a_build_in_one_line(plain_tree: Path, tmp_path: Path) -> None:
    image = next(plain_tree.rglob("*.png"))
    with open(image, "r+b") as file:
        file.truncate(2**40)
    limit = resource.getrlimit(resource.RLIMIT_AS)
    command = [sys.executable, "-m", "shards_tools", "build", "lsasrd", plain_tree, "--out", tmp_path / "out"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, limit[1])),
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert image.name in done.stderr
    assert "more than 536,870,912 bytes" in done.stderr


def test_pictures_with_some_of_these_parts_are_decoded_as_ever() -> None:
    y, x = np.mgrid[:40, :56]
    smooth = Image.fromarray(np.stack([x * 4, y * 6, 255 - x * 2 - y], axis=-1).astype(np.uint8))
    frames = [smooth, smooth.rotate(180)]
    for kind, settings in {
        "GIF": {"save_all": True, "append_images": frames[1:], "comment": b"a" * 3_000},
        "WEBP": {"save_all": True, "append_images": frames[1:], "lossless": True},
        "PNG": {"save_all": True, "append_images": frames[1:]},
        "TIFF": {"compression": "tiff_adobe_deflate", "tile": (16, 16)},
        "JPEG": {"comment": b"a" * 3_000, "exif": Image.Exif().tobytes()},
    }.items():
        data = encoded(smooth, kind, **settings)
        expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        np.testing.assert_array_equal(decode(data, "x"), expected)
