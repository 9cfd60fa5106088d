"""Long texts in a column: what they share is left out, what they differ in never."""

import itertools

from nasrunner.report.page.briefs import LONG_TEXT, briefs

HEAD = "conv2d(filters=32, kernel_size=3, bias=False) → batch_norm → relu"
TAIL = "batch_norm → relu → global_pool → affine(units=10)"


def series(*inside):
    return " → ".join([HEAD, *inside, TAIL])


def test_short_texts_stay_whole():
    assert briefs(["relu", "tanh"]) == [None, None]
    assert briefs([]) == []


def test_what_all_share_at_both_ends_is_left_out():
    assert briefs([series("block_a", "x"), series("block_b"), series("block_b", "y")]) == [
        "… → block_a → x → …",
        "… → block_b → …",
        "… → block_b → y → …",
    ]


def test_what_differs_is_never_cut_however_long():
    long = [f"block(number={n}, of={'many' * 60})" for n in range(3)]
    assert briefs([series(each) for each in long]) == [f"… → {each} → …" for each in long]


def test_what_all_share_in_between_is_left_out_where_it_is_long():
    shared = "inverted_residual(filters=64, expansion=6)"
    texts = [series("a", shared, "b"), series("c", shared, "d")]
    assert briefs(texts) == ["… → a → … → b → …", "… → c → … → d → …"]


def test_different_texts_have_different_briefs():
    parts = ["a", "b", "conv2d(filters=64, kernel_size=5)"]
    texts = [
        series(*inside) for size in range(4) for inside in itertools.permutations(parts * 2, size)
    ]
    texts = list(dict.fromkeys(texts))
    shown = [brief or text for brief, text in zip(briefs(texts), texts, strict=True)]
    assert len(set(shown)) == len(texts)


def test_an_odd_text_stays_whole_and_leaves_the_others_short():
    odd = "zero because " * 20
    assert briefs([series("a"), odd, series("b"), series("c")]) == [
        "… → a → …",
        None,
        "… → b → …",
        "… → c → …",
    ]


def test_an_empty_text_has_no_brief():
    assert briefs(["", "", series("a")]) == [None, None, None]


def test_equal_long_texts_are_clipped():
    (one, other) = briefs([series("a")] * 2)
    assert one == other
    assert one.endswith(" …")
    assert len(one) <= LONG_TEXT + 2
