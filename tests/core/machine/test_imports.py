import gc

import pytest

from nasrunner.core.machine.imports import quick_imports


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A mark for each time that the collector is told to leave alone what there is."""
    marks: list[bool] = []
    monkeypatch.setattr(gc, "freeze", lambda: marks.append(gc.isenabled()))
    return marks


def test_no_garbage_is_looked_for_until_the_outermost_block_ends(frozen: list[bool]) -> None:
    with quick_imports():
        assert not gc.isenabled()
        with quick_imports():
            pass
        assert not gc.isenabled()
        assert frozen == []
    assert gc.isenabled()
    assert frozen == [False], "before the collector could have gone through it"


def test_an_import_that_fails_leaves_the_collector_on(frozen: list[bool]) -> None:
    with pytest.raises(ImportError, match="no such module"), quick_imports():
        raise ImportError("no such module")
    assert gc.isenabled()
    assert len(frozen) == 1
