import json

import numpy as np
import pytest
from scipy.io import savemat

from fglib.data.tables import read_columns, read_json, read_mat, read_pairs
from fglib.errors import DataError


@pytest.mark.parametrize(
    "read",
    [
        lambda path: read_columns(path, ("a",)),
        lambda path: read_pairs(path, "a and b"),
        read_json,
        lambda path: read_mat(path, "x"),
    ],
)
def test_a_missing_table_is_named(tmp_path, read):
    with pytest.raises(DataError, match="nowhere.txt is missing; the data set is not complete"):
        read(tmp_path / "nowhere.txt")


def test_columns_with_and_without_header(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("# made by hand\nb,a\n1,2\n")
    assert read_columns(path, ("a", "b")) == [{"b": "1", "a": "2"}]
    assert read_columns(path, ("a", "b"), header=False) == [{"a": "b", "b": "a"}, {"a": "1", "b": "2"}]
    with pytest.raises(DataError, match="t.csv is not the table it should be: it needs the columns a, c"):
        read_columns(path, ("a", "c"))


def test_pairs_split_at_the_first_space(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("# wnid name\n\nn1 great white shark \nn2\tray\n")
    assert read_pairs(path, "wnid and name") == [("n1", "great white shark"), ("n2", "ray")]
    path.write_text("# wnid name\n\nn1 shark\nn2\n")
    with pytest.raises(DataError, match="t.txt is not the table it should be: line 4 needs wnid and name and is 'n2'"):
        read_pairs(path, "wnid and name")


def test_json_shrinks_every_object(tmp_path):
    path = tmp_path / "t.json"
    path.write_text(json.dumps([{"id": 1, "noise": "x"}, {"id": 2}]))
    assert read_json(path) == [{"id": 1, "noise": "x"}, {"id": 2}]
    assert read_json(path, lambda entry: entry["id"]) == [1, 2]
    for content in (b'[{"id": 1}', b"\xff\xfe\xfa"):
        path.write_bytes(content)
        with pytest.raises(DataError, match="t.json is not the table it should be: it is not JSON"):
            read_json(path)


def test_a_matlab_variable_is_a_vector(tmp_path):
    path = tmp_path / "t.mat"
    savemat(path, {"many": np.array([[3, 1, 2]]), "one": np.array([[7]])})
    assert read_mat(path, "many").tolist() == [3, 1, 2]
    assert read_mat(path, "one").tolist() == [7]
    with pytest.raises(DataError, match="t.mat is not the table it should be: it needs the variable 'none'"):
        read_mat(path, "none")
    path.write_bytes(b"no MATLAB file")
    with pytest.raises(DataError, match="it needs the variable 'one' in MATLAB's format"):
        read_mat(path, "one")
