"""The picture of the architecture is drawn as the code is."""

import xml.etree.ElementTree as tree
from pathlib import Path

from tests.test_layering import ARROWS, imported_modules

ROOT = Path(__file__).parents[2]
PICTURE = tree.parse(ROOT / "docs" / "architecture.svg").getroot()


def drawn(attribute: str) -> list[str]:
    """The attribute of everything in the picture that has it."""
    return [value for element in PICTURE.iter() if (value := element.get(attribute))]


def test_every_package_and_module_of_the_picture_is_there() -> None:
    assert sorted(drawn("data-package")) == sorted(ARROWS)
    assert drawn("data-module")
    assert [path for path in drawn("data-module") if not (ROOT / path).exists()] == []


def test_the_arrows_of_the_picture_are_the_imports_of_the_code() -> None:
    found = set()
    for package in ARROWS:
        for file in (ROOT / package).rglob("*.py"):
            if file.name == "__main__.py" and package == "search_spaces":  # a command, which nothing imports
                continue
            found |= {(package, name) for _, name in imported_modules(file.read_text(), package) if name in ARROWS}
    arrows = set(zip(drawn("data-from"), drawn("data-to"), strict=True))
    assert arrows == {(start, end) for start, end in found if start != end}


def test_a_module_stands_in_the_box_of_its_package() -> None:
    boxes = {}
    for group in PICTURE.iter("{http://www.w3.org/2000/svg}g"):
        rectangle = group.find("{http://www.w3.org/2000/svg}rect")
        if rectangle is None:
            continue
        x, y, width, height = (float(rectangle.get(key, "nan")) for key in ("x", "y", "width", "height"))
        boxes[group.get("data-package") or group.get("data-module")] = (x, y, x + width, y + height)
    for path in drawn("data-module"):
        left, top, right, bottom = boxes[path]
        outer = boxes[path.partition("/")[0]]
        assert outer[0] < left < right < outer[2], path
        assert outer[1] < top < bottom < outer[3], path
