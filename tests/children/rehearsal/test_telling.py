import re

import pytest
from torch.utils.data import DataLoader, Dataset

from nasrunner.core import DataError, MachineError
from tests.children.blobs import OWN, OwnBlobs, make_trainer

BROKEN = {**OWN, "_target_": "tests.children.rehearsal.test_telling.BrokenBlobs"}


class Damaged(Dataset):
    """A data set of which nothing can be read."""

    def __init__(self, error):
        self.error = error

    def __len__(self):
        return 32

    def __getitem__(self, row):
        raise self.error


class BrokenBlobs(OwnBlobs):
    """A user's data module that raises something in one place."""

    def __init__(self, where, error="key", num_workers=0, **arguments):
        super().__init__(**arguments)
        self.where, self.num_workers = where, num_workers
        self.error = OSError(28, "No space left") if error == "disk" else KeyError("age")

    def prepare_data(self):
        self.break_in("prepare_data")

    def setup(self, stage):
        super().setup(stage)
        self.break_in("setup")

    def train_dataloader(self):
        self.break_in("train_dataloader")
        if self.where == "item":
            return DataLoader(Damaged(self.error), num_workers=self.num_workers)
        return super().train_dataloader()

    def val_dataloader(self):
        self.break_in("val_dataloader")
        return super().val_dataloader()

    def break_in(self, where):
        if self.where == where:
            raise self.error


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"where": "prepare_data"}, "prepare_data() fails: KeyError: 'age' ("),
        ({"where": "setup"}, "setup(\"fit\") fails: KeyError: 'age' ("),
        ({"where": "train_dataloader"}, "train_dataloader() fails: KeyError: 'age' ("),
        ({"where": "val_dataloader"}, "val_dataloader() fails: KeyError: 'age' ("),
        ({"where": "item"}, "a training batch cannot be had: KeyError: 'age' ("),
        ({"where": "item", "num_workers": 1}, "a training batch cannot be had: KeyError: 'age'"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_what_breaks_in_a_users_data_module_is_one_sentence(changes, message):
    with pytest.raises(DataError, match=f"data: BrokenBlobs: {re.escape(message)}") as caught:
        make_trainer(data={**BROKEN, **changes})
    told = str(caught.value)
    assert "Traceback" not in told
    assert "\n" not in told
    if "num_workers" not in changes:
        assert re.search(rf"\({re.escape(__file__)}, line \d+\)$", told)


def test_a_full_disk_in_a_users_data_module_is_the_machines_fault():
    with pytest.raises(MachineError, match="No space left on device"):
        make_trainer(data={**BROKEN, "where": "setup", "error": "disk"})
