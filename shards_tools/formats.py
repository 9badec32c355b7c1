"""File formats of pictures, detected from the first bytes of a file, never from its name."""

import re
from pathlib import PurePath

# format -> the suffixes of its files, and how they start
FORMATS: dict[str, tuple[tuple[str, ...], re.Pattern[bytes]]] = {
    "JPEG": ((".jpg", ".jpeg"), re.compile(rb"\xff\xd8\xff")),
    "PNG": ((".png",), re.compile(rb"\x89PNG\r\n\x1a\n")),
    "WebP": ((".webp",), re.compile(rb"RIFF.{4}WEBP", re.DOTALL)),
    "GIF": ((".gif",), re.compile(rb"GIF8[79]a")),
    "BMP": ((".bmp",), re.compile(rb"BM")),
    "TIFF": ((".tif", ".tiff"), re.compile(rb"II[*+]\0|MM\0[*+]")),
    "AVIF": ((".avif",), re.compile(rb".{4}ftyp(avi[fs]|m(if|sf)1.{4}(.{4}){0,8}?avi[fs])", re.DOTALL)),
}
STORED = {"JPEG": "jpg", "PNG": "png"}  # formats of images in shards, and their suffixes there
UNSUPPORTED = {
    "HEIC": re.compile(rb".{4}ftyp(he|m(if|sf)1)", re.DOTALL),
    "JPEG 2000": re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    "JPEG XL": re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "),
    "Photoshop file": re.compile(rb"8BPS"),
    "PDF": re.compile(rb"%PDF"),
    "SVG": re.compile(rb"\s*(<\?xml.*)?<svg", re.DOTALL),
    "web page": re.compile(rb"\s*<(!doctype )?html", re.IGNORECASE),
}
SUFFIXES = tuple(suffix for suffixes, _ in FORMATS.values() for suffix in suffixes)
NAMES = f"{', '.join([*FORMATS][:-1])} or {[*FORMATS][-1]}"
START_BYTES = 256


def format_of(data: bytes) -> str | None:
    """Return the key of FORMATS or UNSUPPORTED whose files start like these bytes, or None if there is none."""
    start = data[:START_BYTES]
    known = {name: pattern for name, (_, pattern) in FORMATS.items()} | UNSUPPORTED
    return next((name for name, pattern in known.items() if pattern.match(start)), None)


def described(kind: str, name: str) -> str:
    """Return the format, and the suffix of the file's name if it is that of another format.

    >>> described("WebP", "a/1.jpg"), described("WebP", "a/1.webp")
    ('WebP named .jpg', 'WebP')
    """
    suffix = PurePath(name).suffix.lower()
    own = FORMATS[kind][0] if kind in FORMATS else ()
    return f"{kind} named {suffix}" if suffix in SUFFIXES and suffix not in own else kind
