"""A figure: the same numbers give the same bytes, and a page's color of text takes the place of black."""

import io
import xml.etree.ElementTree as tree

import numpy as np
from PIL import Image

from platform.reporting.figures.figure import Figure
from platform.reporting.figures.look import FULL_WIDTH, canvas


def drawn() -> Figure:
    """A line of three points."""
    with canvas(height=2.0) as page:
        axes = page.add_subplot()
        axes.plot([1, 2, 3], [1, 4, 9], label="squares")
        axes.set_title("squares")
    return Figure(name="squares", title="Squares", caption="", plot=page, columns=("x", "y"), rows=[(1, 1), (2, 4)])


def test_the_same_numbers_give_the_same_bytes() -> None:
    one, other = drawn(), drawn()
    assert one.as_pdf() == other.as_pdf()
    assert one.as_svg() == other.as_svg()
    assert one.as_png() == other.as_png()


def test_a_drawing_in_a_page_takes_its_color_of_text_and_keeps_its_words() -> None:
    drawing = drawn().as_svg()
    root = tree.fromstring(drawing)
    assert root.get("fill") == "currentColor"
    assert "#000000" not in drawing
    assert "squares" in {text.text for text in root.iter("{http://www.w3.org/2000/svg}text")}


def test_pixels_are_on_white_and_as_wide_as_asked_for() -> None:
    pixels = np.asarray(Image.open(io.BytesIO(drawn().as_png(dpi=100))).convert("RGB"))
    assert pixels.shape == (200, round(100 * FULL_WIDTH), 3)
    assert tuple(pixels[0, 0]) == (255, 255, 255)


def test_the_numbers_are_a_table_with_a_heading() -> None:
    assert drawn().as_csv() == "x,y\n1,1\n2,4\n"


def test_a_japanese_name_is_whole_in_a_page_whatever_fonts_there_are() -> None:
    with canvas() as page:
        page.add_subplot().set_title("初音ミク")
    figure = Figure(name="miku", title="", caption="", plot=page)
    assert "初音ミク" in figure.as_svg()
    assert figure.as_png()
    assert figure.as_pdf()
