"""Names of options, as tables and metrics have them."""

from nasrunner.core.decision import Decision, Selection, option_names


def names(*options: object, selection: Selection | None = None) -> tuple[str, ...]:
    return option_names(Decision("0/or", "0/or", options, is_ordered=False, selection=selection))


def test_options_are_named_by_their_texts() -> None:
    assert names("relu", 3, 0.5, [1, 2]) == ("relu", "3", "0.5", "[1, 2]")


def test_no_two_options_have_one_name() -> None:
    long = "a" * 50
    assert names("relu", "relu") == ("relu", "relu #1")
    assert names(long + "b", long + "c") == (f"{'a' * 39}…", f"{'a' * 39}… #1")
    assert len(set(names("relu", "relu #2", "relu"))) == 3


def test_what_is_selected_is_taken() -> None:
    assert names(False, True, selection=Selection("a", "b")) == ("left out", "taken")
