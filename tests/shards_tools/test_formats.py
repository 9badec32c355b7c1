"""Pictures of every format, with alpha and EXIF, become the pixels that a viewer shows; others are refused by name."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps, PngImagePlugin, features

from shards_tools.build import BuildOptions, build
from shards_tools.conversion import AS_STORED, ON_WHITE, Conversion, parse_color
from shards_tools.decode import UPRIGHT, convert, decode
from shards_tools.errors import Error
from shards_tools.formats import FORMATS, described, format_of
from shards_tools.manifest_file import read_manifest
from shards_tools.reader import read_image
from shards_tools.sources.folder import scan
from shards_tools.verify import verify
from tests.shards_tools.refusal import refusal

ON_RED = Conversion("#ff0000")
UPRIGHT_ON_WHITE = Conversion("#ffffff", exif_orientation=True)


def smooth() -> Image.Image:
    y, x = np.mgrid[:20, :24]
    return Image.fromarray(np.stack([x * 9, y * 12, 255 - x * 2 - y * 3], axis=-1).astype(np.uint8))


def clear() -> Image.Image:
    """The smooth picture, fully transparent on the left and opaque on the right."""
    image = smooth()
    image.putalpha(Image.fromarray(np.repeat(np.linspace(0, 255, 24).astype(np.uint8)[None], 20, axis=0)))
    return image


def saved(image: Image.Image, kind: str, **settings) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def turned(kind: str, orientation: int = 6) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return saved(smooth(), kind, exif=exif)


def with_text(num_bytes: int, **settings) -> bytes:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("prompt", "x" * num_bytes, zip=True)
    return saved(smooth(), "PNG", pnginfo=texts, **settings)


def with_key_color() -> bytes:
    """An RGB PNG whose pixels of one color are transparent."""
    return saved(Image.new("RGB", (24, 20), (1, 2, 3)), "PNG", transparency=(1, 2, 3))


def in_two_frames(kind: str, **settings) -> bytes:
    return saved(smooth(), kind, save_all=True, append_images=[Image.new("RGB", (24, 20), "red")], **settings)


def by_viewer(data: bytes, conversion: Conversion) -> np.ndarray:
    """What Pillow shows of the first frame: upright if asked for, and composited on the background."""
    with Image.open(io.BytesIO(data)) as image:
        shown = (ImageOps.exif_transpose(image) if conversion.exif_orientation else image).convert("RGBA")
        canvas = Image.new("RGBA", shown.size, conversion.background)
        canvas.alpha_composite(shown)
        return np.asarray(canvas.convert("RGB"))


# name -> encoded picture, conversion, whether shards store its own bytes
READ: dict[str, tuple[Callable[[], bytes], Conversion, bool]] = {
    "JPEG": (lambda: saved(smooth(), "JPEG"), ON_WHITE, True),
    "progressive JPEG": (lambda: saved(smooth(), "JPEG", progressive=True), ON_WHITE, True),
    "JPEG with a turn that is not asked for": (lambda: turned("JPEG"), ON_WHITE, True),
    "turned JPEG": (lambda: turned("JPEG"), UPRIGHT_ON_WHITE, False),
    "JPEG that is upright": (lambda: turned("JPEG", 1), UPRIGHT_ON_WHITE, True),
    "JPEG with a large profile": (lambda: saved(smooth(), "JPEG", icc_profile=b"p" * 3_000_000), ON_WHITE, True),
    "JPEG with damaged EXIF": (lambda: saved(smooth(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff"), UPRIGHT_ON_WHITE, True),
    "PNG": (lambda: saved(smooth(), "PNG"), ON_WHITE, True),
    "turned PNG": (lambda: turned("PNG"), UPRIGHT_ON_WHITE, False),
    "gray PNG": (lambda: saved(smooth().convert("L"), "PNG"), ON_WHITE, True),
    "PNG with alpha": (lambda: saved(clear(), "PNG"), ON_WHITE, False),
    "PNG with alpha on red": (lambda: saved(clear(), "PNG"), ON_RED, False),
    "PNG with opaque alpha": (lambda: saved(smooth().convert("RGBA"), "PNG"), ON_WHITE, True),
    "gray PNG with alpha": (lambda: saved(clear().convert("LA"), "PNG"), ON_WHITE, False),
    "palette PNG with alpha": (lambda: saved(clear().quantize(16), "PNG"), ON_WHITE, False),
    "PNG with a transparent color": (with_key_color, ON_RED, False),
    "PNG with a text of 3 MB": (lambda: with_text(3_000_000), ON_WHITE, True),
    "PNG with a profile of 3 MB": (lambda: saved(smooth(), "PNG", icc_profile=b"p" * 3_000_000), ON_WHITE, True),
    "animated PNG": (lambda: in_two_frames("PNG"), ON_WHITE, True),
    "WebP": (lambda: saved(smooth(), "WEBP"), ON_WHITE, False),
    "lossless WebP with alpha": (lambda: saved(clear(), "WEBP", lossless=True), ON_RED, False),
    "animated WebP": (lambda: in_two_frames("WEBP"), ON_WHITE, False),
    "turned WebP": (lambda: turned("WEBP"), UPRIGHT_ON_WHITE, False),
    "GIF": (lambda: saved(smooth(), "GIF"), ON_WHITE, False),
    "GIF with a transparent color": (lambda: saved(clear(), "GIF"), ON_RED, False),
    "animated GIF": (lambda: in_two_frames("GIF"), ON_WHITE, False),
    "BMP": (lambda: saved(smooth(), "BMP"), ON_WHITE, False),
    "palette BMP": (lambda: saved(smooth().quantize(16), "BMP"), ON_WHITE, False),
    "TIFF": (lambda: saved(smooth(), "TIFF"), ON_WHITE, False),
    "compressed TIFF with alpha": (lambda: saved(clear(), "TIFF", compression="tiff_lzw"), ON_RED, False),
    "CMYK TIFF": (lambda: saved(smooth().convert("CMYK"), "TIFF"), ON_WHITE, False),
    "TIFF of two pages": (lambda: in_two_frames("TIFF"), ON_WHITE, False),
    "TIFF whose own tag turns it": (lambda: turned("TIFF"), ON_WHITE, False),
    "AVIF": (lambda: saved(smooth(), "AVIF"), ON_WHITE, False),
    "AVIF with alpha": (lambda: saved(clear(), "AVIF"), ON_RED, False),
    "turned AVIF": (lambda: turned("AVIF"), UPRIGHT_ON_WHITE, False),
}


def made(name: str, make: Callable[[], bytes]) -> bytes:
    if "AVIF" in name and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    return make()


@pytest.mark.parametrize("name", READ)
def test_a_picture_has_the_pixels_that_a_viewer_shows_also_from_shards(name, monkeypatch):
    make, conversion, same_bytes = READ[name]
    data = made(name, make)
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_CHUNK", 2**30)
    expected = by_viewer(data, conversion)
    monkeypatch.undo()
    assert format_of(data) == next(word for word in name.split() if word in FORMATS)
    stored, pixels = convert(data, "x", conversion)
    np.testing.assert_array_equal(pixels, expected)
    np.testing.assert_array_equal(decode(data, "x", conversion=conversion), expected)
    np.testing.assert_array_equal(decode(stored, "x"), expected)
    assert (stored == data) == same_bytes
    assert format_of(stored) == ("JPEG" if "JPEG" in name and same_bytes else "PNG")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_turned_as_exif_says(kind, orientation):
    data = turned(kind, orientation)
    expected = by_viewer(data, UPRIGHT_ON_WHITE)
    np.testing.assert_array_equal(decode(data, "x", conversion=UPRIGHT_ON_WHITE), expected)
    assert orientation == 1 or orientation in UPRIGHT


def cut(kind: str, **settings) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), kind, **settings)
    return data[: len(data) // 2]


# name -> bytes, how the message goes on after "x.jpg "
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "is not an image in a known format (it is empty)"),
    "zeros": (lambda: bytes(100), "is not an image in a known format (its first bytes are"),
    "text": (lambda: b"1girl, solo", "is not an image in a known format (its first bytes are b'1girl, s')"),
    "web page": (lambda: b"<!DOCTYPE html><html>404", "is a web page named .jpg, which is not supported"),
    "SVG": (lambda: b"<?xml version='1.0'?><svg/>", "is a SVG named .jpg, which is not supported"),
    "HEIC": (lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "is a HEIC named .jpg, which is not supported"),
    "Photoshop file": (lambda: b"8BPS\0\1", "is a Photoshop file named .jpg, which is not supported"),
    "JPEG 2000": (lambda: saved(smooth(), "JPEG2000"), "is a JPEG 2000 named .jpg, which is not supported"),
    "PDF": (lambda: b"%PDF-1.7", "is a PDF named .jpg, which is not supported"),
    "cut JPEG": (lambda: cut("JPEG"), "is a broken image (JPEG: "),
    "cut PNG": (lambda: cut("PNG"), "is a broken image (PNG named .jpg: "),
    "cut WebP": (lambda: cut("WEBP"), "is a broken image (WebP named .jpg: "),
    "cut GIF": (lambda: cut("GIF"), "is a broken image (GIF named .jpg: "),
    "cut BMP": (lambda: cut("BMP"), "is a broken image (BMP named .jpg: "),
    "cut TIFF": (lambda: cut("TIFF"), "is a broken image (TIFF named .jpg: "),
    "cut AVIF": (lambda: cut("AVIF"), "is a broken image (AVIF named .jpg: "),
    "header of a GIF": (lambda: b"GIF89a", "is a broken image (GIF named .jpg: its header is damaged)"),
    "16-bit gray PNG": (
        lambda: saved(Image.fromarray(np.full((8, 8), 900, np.uint16)), "PNG"),
        "cannot be used: this PNG named .jpg has more than 8 bits per channel",
    ),
    "TIFF of floats": (
        lambda: saved(Image.fromarray(np.ones((8, 8), np.float32)), "TIFF"),
        "cannot be used: this TIFF named .jpg has more than 8 bits per channel",
    ),
    "huge GIF": (
        lambda: b"GIF89a" + struct.pack("<HHBBB", 9000, 9000, 0, 0, 0) + b",\0\0\0\0(#(#\0\2\2L\1\0;",
        "cannot be used: this GIF named .jpg has 9000 x 9000 px, which is more than 67,108,864 pixels",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bytes_that_cannot_be_used_are_named_by_their_real_format(name):
    make, expected = REFUSED[name]
    message = refusal(decode, made(name, make), "x.jpg")
    assert message.startswith(f"x.jpg {expected}")
    assert len(message) <= 400


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns of damaged metadata
def test_a_damaged_picture_of_any_format_is_read_or_refused():
    draw = np.random.default_rng(0)
    seeds = [make() for name, (make, _, _) in READ.items() if "AVIF" not in name or features.check("avif")]
    seeds = [data for data in seeds if len(data) < 10_000]
    refused = 0
    for number in range(1_500):
        data = bytearray(seeds[number % len(seeds)])
        for place in draw.integers(len(data), size=draw.integers(1, 5)):
            data[place] = draw.integers(256)
        try:
            decode(bytes(data[: draw.integers(1, len(data) + 1)]) if number % 3 == 0 else bytes(data), "x")
        except Error:
            refused += 1
    assert refused > 300


def test_a_format_is_named_with_a_suffix_that_is_not_its_own():
    assert described("JPEG", "a.jpeg") == "JPEG"
    assert described("JPEG", "a") == "JPEG"
    assert described("WebP", "b/A.JPG") == "WebP named .jpg"
    assert format_of(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif") == "AVIF"


@pytest.mark.parametrize(
    ("text", "color"), [("white", "#ffffff"), ("#F00", "#ff0000"), ("rgb(1, 2, 3)", "#010203"), ("#80808000", None)]
)
def test_a_color_is_any_opaque_one_that_pillow_knows(text, color):
    if color is None:
        with pytest.raises(ValueError, match="alpha"):
            parse_color(text)
    else:
        assert parse_color(text) == color


@pytest.mark.parametrize("options", [{"background": "white"}, {"background": 7}, {"exif_orientation": 1}])
def test_a_conversion_that_no_build_wrote_is_refused(options):
    with pytest.raises((ValueError, TypeError)):
        Conversion(**options)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Classes with one picture of every kind each, named .jpg."""
    for name in ("a", "b"):
        (tmp_path / "mixed" / name).mkdir(parents=True)
        for number, (title, (make, _, _)) in enumerate(READ.items()):
            if "MB" not in title and ("AVIF" not in title or features.check("avif")):
                (tmp_path / "mixed" / name / f"{number:02d}.jpg").write_bytes(make())
    return tmp_path / "mixed"


@pytest.mark.parametrize("conversion", [ON_RED, UPRIGHT_ON_WHITE, AS_STORED])
def test_shards_of_all_formats_hold_the_converted_pixels_and_record_how(mixed, tmp_path, conversion):
    source = scan(mixed)
    build(source, tmp_path / "shards", BuildOptions(conversion=conversion))
    manifest = verify(tmp_path / "shards", "deep")
    assert manifest.conversion == conversion
    for index, image in enumerate(source.images):
        expected = decode(image.path.read_bytes(), "x", conversion=conversion)
        np.testing.assert_array_equal(decode(read_image(manifest, index), "x"), expected)


def test_shards_of_an_earlier_version_keep_their_pixels(mixed, tmp_path):
    """They hold a PNG with its alpha, and their manifest says nothing about a conversion."""
    earlier = tmp_path / "shards"
    manifest = build(scan(mixed), earlier, BuildOptions(conversion=AS_STORED))
    head = (earlier / "manifest.json").read_text()
    record = '"conversion": {\n  "background": null,\n  "exif_orientation": false\n },\n '
    assert record in head
    (earlier / "manifest.json").write_text(head.replace(record, ""))
    found = read_manifest(earlier)
    assert (found.conversion, found.fingerprint) == (AS_STORED, manifest.fingerprint)
    data = saved(clear(), "PNG")
    index = next(index for index in range(found.num_images) if read_image(found, index) == data)
    np.testing.assert_array_equal(decode(read_image(found, index), "x"), np.asarray(smooth()))


def test_a_text_before_damaged_pixels_hides_no_damage():
    data = with_text(3_000_000)
    place = data.index(b"IDAT")
    chunk = zlib.crc32(b"IDAT")
    with pytest.raises(Error, match="is a broken image"):
        decode(data[: place + 20] + struct.pack(">I", chunk) + data[place + 24 :], "x")
