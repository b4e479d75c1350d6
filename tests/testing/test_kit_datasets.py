"""A broken dataset format is caught by the checks that are meant for it."""

from offering import failed

from aamc_sdk import DatasetFormat


class Careless(DatasetFormat):
    def read(self, path):
        with open(path) as file:  # noqa: PTH123  # as careless as it gets
            return file.read()


def test_a_careless_dataset_format_is_caught(offer):
    assert {"bad paths are refused", "what is read is consistent"} <= failed(offer("dataset", Careless), "dataset")
