import json

import numpy as np
import pytest
from scipy.io import savemat

from fglib.data import tables
from fglib.data.tables import (
    look_up,
    read_columns,
    read_json,
    read_lines,
    read_map,
    read_mat,
    read_pairs,
    read_xml,
    whole_numbers,
)
from fglib.errors import DataError


@pytest.mark.parametrize(
    "read",
    [
        lambda path: read_columns(path, ("a",)),
        lambda path: read_pairs(path, "a and b"),
        read_json,
        lambda path: read_mat(path, "x"),
        lambda path: read_map(path, "a and b"),
        read_lines,
        read_xml,
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
    with pytest.raises(DataError, match=r"t.csv is not the table it should be: .* columns a, c, and has \['b', 'a'\]"):
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
    for content, message in (
        ('[{"id": 1}', "it is not JSON"),
        ('[{"id": NaN}]', "it is not JSON: NaN"),
        ('[{"id": 1, "id": 2}]', "it is not JSON: the key 'id' stands twice"),
        ("[" * 100_000, "it is nested too deeply"),
    ):
        path.write_text(content)
        with pytest.raises(DataError, match=f"t.json is not the table it should be: {message}"):
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


TEXTS = [
    lambda path: read_columns(path, ("a",)),
    lambda path: read_pairs(path, "a and b"),
    read_lines,
    read_json,
    read_xml,
]


@pytest.mark.parametrize("read", TEXTS)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\ncafé,1\n".encode("latin-1"), "t.txt is not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "t.txt is in UTF-16"),
        (b"a,b\n1\0,2\n", "t.txt holds null bytes"),
    ],
)
def test_what_is_not_utf_8_is_said(tmp_path, read, content, message):
    path = tmp_path / "t.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(path)


def test_a_table_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "t.txt"
    path.write_text("a,b\n1,2\n")
    monkeypatch.setattr(tables, "MAX_TABLE", 7)
    for read in TEXTS:
        with pytest.raises(DataError, match="t.txt has 8 bytes, more than the 7"):
            read(path)


def test_a_mark_and_line_ends_of_other_systems(tmp_path):
    path = tmp_path / "t.csv"
    for end in ("\n", "\r\n", "\r"):
        path.write_bytes(b"\xef\xbb\xbf" + end.join(("path,split", "a\x0bb,train", "", "\u2028,test", "")).encode())
        rows = [{"path": "a\x0bb", "split": "train"}, {"path": "\u2028", "split": "test"}]
        assert read_columns(path, ("path", "split")) == rows
        assert [line for _, line in read_lines(path)] == ["path,split", "a\x0bb,train", "\u2028,test"]
        assert [number for number, _ in read_lines(path)] == [1, 2, 4]
    path.write_bytes(b"\xef\xbb\xbfn1 a\r\nn2 b\r\n")
    assert read_pairs(path, "x and y") == [("n1", "a"), ("n2", "b")]
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(path) == {"a": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# note\na,b\n1,2\n3\n", "line 4 has 1 cells, not 2"),
        ("a,b\n1,2,3\n", "line 2 has 3 cells, not 2"),
        ('a,b\n"1\n2",3\n# note\n4\n', "line 5 has 1 cells, not 2"),
        ('a,b\n1,2\n"3,4\n5,6\n', "line 3 cannot be read .unexpected end of data"),
        ('a,b\n"1"x,2\n', "line 2 cannot be read"),
        ("a,b\n" + "x" * 200_000 + ",2\n", "line 2 cannot be read .field larger"),
        ("a,b,a\n1,2,3\n", r"it needs the columns a, b, and has \['a', 'b', 'a'\]"),
        ("", r"it needs the columns a, b, and has \[\]"),
    ],
)
def test_rows_that_do_not_fit_are_named_by_their_line(tmp_path, text, message):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=f"t.csv is not the table it should be: {message}"):
        read_columns(path, ("a", "b"))


def test_rows_without_a_header_have_just_the_columns(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("1 2\n3 4 \n")
    with pytest.raises(DataError, match="line 2 has 3 cells, not 2"):
        read_columns(path, ("a", "b"), " ", header=False)


def test_a_map_gives_one_value_for_a_key(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("1 crow\n2 owl\n1 crow\n")
    assert read_map(path, "number and bird") == {"1": "crow", "2": "owl"}
    assert look_up(path, "number and bird", ["2", "1"]) == ["owl", "crow"]
    assert look_up(path, "number and bird", ["2"], ("owl",)) == ["owl"]
    with pytest.raises(DataError, match="t.txt .*: it gives 1 'crow', not one of owl, jay"):
        look_up(path, "number and bird", ["2", "1"], ("owl", "jay"))
    with pytest.raises(DataError, match="t.txt .*: it needs number and bird, and 3 is not in it"):
        look_up(path, "number and bird", ["3"])
    path.write_text("1 crow\n2 owl\n1 raven\n")
    with pytest.raises(DataError, match="t.txt .*: it gives 1 both 'crow' and 'raven'"):
        read_map(path, "number and bird")


@pytest.mark.parametrize("compressed", [False, True])
def test_a_matlab_file_that_holds_too_much_is_not_unpacked(tmp_path, monkeypatch, compressed):
    path = tmp_path / "t.mat"
    savemat(path, {"small": np.arange(5), "large": np.zeros((1, 50_000))}, do_compression=compressed)
    assert read_mat(path, "small").tolist() == [0, 1, 2, 3, 4]
    assert path.stat().st_size < 100_000 or not compressed
    monkeypatch.setattr(tables, "MAX_MAT", 300_000)
    with pytest.raises(DataError, match="t.mat .*: it holds more than the 300,000 bytes that are read"):
        read_mat(path, "small")


@pytest.mark.parametrize("damage", [lambda data: data[:-9] + bytes(9), lambda data: data[:-9], lambda data: data[:200]])
def test_a_matlab_file_that_is_damaged_is_refused(tmp_path, damage):
    path = tmp_path / "t.mat"
    savemat(path, {"a": np.random.default_rng(0).random((9, 9)), "b": np.arange(999)}, do_compression=True)
    path.write_bytes(damage(path.read_bytes()))
    for variable in "ab":
        with pytest.raises(DataError, match=f"t.mat .*: it needs the variable '{variable}' in MATLAB's format"):
            read_mat(path, variable)


def test_entities_of_xml_are_not_expanded(tmp_path):
    path = tmp_path / "t.xml"
    path.write_text("<a><b>1</b></a>")
    assert read_xml(path).findtext("b") == "1"
    path.write_text('<!DOCTYPE a [<!ENTITY x "xx"><!ENTITY y "&x;&x;">]><a><b>&y;</b></a>')
    with pytest.raises(DataError, match="t.xml is not the table it should be: it needs XML .it has a DOCTYPE"):
        read_xml(path)


def test_whole_numbers():
    def check(values):
        return whole_numbers("t.mat", values, 1, 3, "classes are numbered 1 to 3")

    assert check([1, 3.0, np.uint8(2), np.array(1)]) == [1, 3, 2, 1]
    for wrong in (0, 4, 1.5, float("nan"), float("inf"), "1", None, [1], np.array([1])):
        with pytest.raises(DataError, match="t.mat .*: classes are numbered 1 to 3, and it holds "):
            check([1, wrong])
