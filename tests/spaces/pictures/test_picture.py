import pytest

from nasrunner.spaces.pictures.drawing import draw
from nasrunner.spaces.pictures.picture import Box, Frame, Series, text_width
from tests.spaces.pictures.svg import GOLDEN, PICTURES


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_what_it_was_when_it_was_looked_at(name):
    assert draw(PICTURES[name]) == (GOLDEN / f"{name}.svg").read_text()


def test_every_golden_picture_is_compared():
    assert {path.stem for path in GOLDEN.glob("*.svg")} == set(PICTURES)


def test_boxes_in_series_are_as_wide_as_the_widest():
    short, long = Box("relu", [], "activation"), Box("a" * 40, [], "other")
    assert Series([short, long]).left == short.left == long.left == long.right
    assert long.left > 140


def test_a_frame_is_wide_enough_for_its_label():
    label = "a label that is wider than what it frames"
    frame = Frame(Series([]), label)
    assert frame.left + frame.right >= text_width(label, 12, is_bold=True)
