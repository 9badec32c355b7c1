"""The page on the architecture agrees with the code: its picture, and the functions that its walks name."""

import ast
import re
import xml.etree.ElementTree as tree

import pytest

from tests.docs.definitions import REFERENCE, ROOT, definition, missing_references
from tests.import_graph import PACKAGES, imported_packages

PAGE = ROOT / "docs" / "architecture.md"
# A step of a walk: its number, and "→" or "N →" in front of the function if another step calls it.
STEP = re.compile(r"^(\d+)\. (?:(\d+ )?(→) )?(.*)$", re.M)
# Called through an instance: the caller mentions something named like the class.
CALLED_BY_CLASS = {"__call__", "__init__", "forward"}
PICTURE = tree.parse(ROOT / "docs" / "architecture.svg").getroot()


def drawn(attribute: str) -> list[str]:
    """The attribute of everything in the picture that has it."""
    return [value for element in PICTURE.iter() if (value := element.get(attribute))]


def test_every_package_and_module_of_the_picture_is_there() -> None:
    assert sorted(drawn("data-package")) == sorted(PACKAGES)
    assert drawn("data-module")
    assert [path for path in drawn("data-module") if not (ROOT / path).exists()] == []


def test_the_arrows_of_the_picture_are_the_imports_of_the_code() -> None:
    assert set(zip(drawn("data-from"), drawn("data-to"), strict=True)) == imported_packages()


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


def calls_of(text: str) -> list[tuple[tuple[str, str], tuple[str, str]]]:
    """Return the (file, name) of caller and callee for each arrow of a page; numbers restart with each walk."""
    calls = []
    steps: dict[int, tuple[str, str]] = {}
    for number, caller, arrow, rest in STEP.findall(text):
        file, name = next(iter(REFERENCE.findall(rest)), ("", ""))
        if arrow:
            calls.append((steps[int(caller or int(number) - 1)], (file, name)))
        steps[int(number)] = file, name
    return calls


def plain(name: str) -> str:
    """Return a name without underscores and capitals, so that `self._input_step` equals `InputStep`."""
    return name.replace("_", "").lower()


def mentions(caller: tuple[str, str], callee: tuple[str, str]) -> bool:
    """Return whether the code of the caller has the callee's name, or that of its class, as a name or attribute."""
    node = definition(*caller)
    *classes, last = callee[1].split(".")
    wanted = plain(classes[-1] if last in CALLED_BY_CLASS else last)
    assert node is not None
    inside = list(ast.walk(node))
    names = {each.id for each in inside if isinstance(each, ast.Name)}
    names |= {each.attr for each in inside if isinstance(each, ast.Attribute)}
    return wanted in map(plain, names)


def test_every_function_of_the_page_exists() -> None:
    assert missing_references(PAGE) == []


def test_every_step_is_numbered_in_order_and_names_a_function() -> None:
    numbers = [(int(number), bool(REFERENCE.search(rest))) for number, _, _, rest in STEP.findall(PAGE.read_text())]
    walks = [place for place, (number, _) in enumerate(numbers) if number == 1]
    assert len(walks) == 2
    assert [number for number, _ in numbers] == [*range(1, walks[1] + 1), *range(1, len(numbers) - walks[1] + 1)]
    assert all(names for _, names in numbers)


@pytest.mark.parametrize(
    ("caller", "callee"), calls_of(PAGE.read_text()), ids=lambda step: ":".join(step).replace("/", ".")
)
def test_each_caller_mentions_what_it_calls(caller: tuple[str, str], callee: tuple[str, str]) -> None:
    assert mentions(caller, callee), f"{':'.join(caller)} does not mention {callee[1]}; correct docs/architecture.md"


def test_a_wrong_call_is_found() -> None:
    text = (
        "1. `trainables/training/loop.py:train` trains.\n"
        "2. → `trainables/training/loop.py:run_epoch`\n"
        "3. 1 → `platform/ui.py:main`\n"
    )
    right, wrong = calls_of(text)
    assert mentions(*right)
    assert not mentions(*wrong)
