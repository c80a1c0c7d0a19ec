"""Texts of users: read as UTF-8, parsed strictly, and whatever is wrong is one sentence."""

import math
import os
import subprocess
import sys

import pytest
import yaml

from fglib import documents
from fglib.documents import MAX_DEPTH, MAX_NODES, parse_json, parse_yaml, read_json, read_text, read_yaml
from fglib.errors import ConfigError, DataError, RecordError
from fglib.lab.places import book, experiments


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_utf_8_is_read_with_and_without_a_byte_order_mark(tmp_path, encoding):
    path = tmp_path / "a.txt"
    path.write_bytes("Käfer\r\n甲虫".encode(encoding))
    assert read_text(path) == "Käfer\r\n甲虫"


def test_the_locale_does_not_matter(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("Käfer", encoding="utf-8")
    code = (
        f"from pathlib import Path; from fglib.documents import read_text; print(ascii(read_text(Path({str(path)!r}))))"
    )
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | ascii_only)
    assert out.stdout.strip() == r"'K\xe4fer'"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("a: Käfer".encode("utf-16"), "is in UTF-16 or UTF-32; save it as UTF-8"),
        ("a: Käfer".encode("utf-32"), "is in UTF-16 or UTF-32; save it as UTF-8"),
        ("a: Käfer".encode("utf-16-le"), "holds null bytes.*save it as UTF-8"),
        (b"a: b\nc: K\xe4fer", r"is not UTF-8 \(byte 0xe4 in line 2\); save it as UTF-8"),
    ],
)
def test_other_encodings_are_named(tmp_path, data, message):
    path = tmp_path / "a.yml"
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"^the table {path} {message}"):
        read_text(path, "table", error=DataError)


def test_what_is_no_readable_file_is_named(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="^the queue .*none.yml does not exist"):
        read_text(tmp_path / "none.yml", "queue")
    with pytest.raises(RecordError, match="is a folder or a device, not a file"):
        read_text(tmp_path, error=RecordError)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="is a folder or a device, not a file"):
        read_text(tmp_path / "pipe")
    for name in ("a\0b", "a" * 5000, "file/b"):
        (tmp_path / "file").write_text("")
        with pytest.raises(ConfigError, match="cannot be read"):
            read_text(tmp_path / name)


def test_a_file_of_another_owner_is_named(tmp_path, monkeypatch):
    path = tmp_path / "a.yml"
    path.write_text("a: 1")

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "read_bytes", refuse)
    with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
        read_yaml(path)


def test_a_large_file_is_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    with path.open("wb") as file:
        file.truncate(10**12)  # takes no space
    with pytest.raises(ConfigError, match="has 1,000,000,000,000 bytes, more than the 16,000,000 that are read"):
        read_text(path)
    path.write_text("ab")
    assert read_text(path, most=2) == "ab"
    with pytest.raises(ConfigError, match="more than the 1 that are read"):
        read_text(path, most=1)


# YAML


def test_plain_yaml_is_what_pyyaml_reads():
    for path in (*experiments().glob("*.yml"), *book().glob("*.yml")):
        assert read_yaml(path, number_keys=True) == yaml.safe_load(path.read_text(encoding="utf-8"))
    assert parse_yaml("", "x") is None and parse_yaml("# nothing", "x") is None
    assert math.isnan(parse_yaml(".nan", "x")) and parse_yaml("[1, on, null, 1.0e-3, a]", "x") == [
        1,
        True,
        None,
        1e-3,
        "a",
    ]


@pytest.mark.parametrize("date", ["2026-01-01", "2026-13-45", "2001-12-14t21:59:43.10-05:00"])
def test_dates_need_quotes(date):
    assert parse_yaml(f"{{a: '{date}', b: =}}", "x") == {"a": date, "b": "="}
    for text in (date, f"a: {date}", f"[{date}]"):
        with pytest.raises(ConfigError, match=f"^x: {date} looks like a date; put it in quotes if it is a text"):
            parse_yaml(text, "x")


def test_anchors_and_merge_keys_work():
    text = "a: &a {x: 1, y: 2}\nb: &b {<<: *a, x: 3}\nc: {<<: *b, y: 4}\nd: *a"
    assert parse_yaml(text, "x") == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 3, "y": 2},
        "c": {"x": 3, "y": 4},
        "d": {"x": 1, "y": 2},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "not valid YAML: "),
        ("a: 1\n b: 2", "line 2: not valid YAML: "),
        ("a: *b", "not valid YAML: found undefined alias"),
        ("a: 1\n---\nb: 2", "line 2: not valid YAML: .*another document"),
        ("a: \x07", "not valid YAML: "),
        ("a: caf\udce9", "not valid YAML: "),
        ("a: " + "9" * 5000, "not valid YAML: "),
        ("a: 0x_", "not valid YAML: "),
        ("a: 1\nb: 2\na: 3", "line 3: the key 'a' stands there twice"),
        ("- {a: 1, 'a': 3}", "the key 'a' stands there twice"),
        ("off: 1", "a key must be a name, not 'off' .*read as bool.*quotes"),
        ("null: 1", "a key must be a name, not 'null'"),
        ("1: 1", "a key must be a name, not '1'"),
        ("? [a]\n: 1", "a key must be a name, not a list or mapping"),
        ("!!python/object/apply:os.system [ls]", "the tag .*os.system' is not read"),
        ("a: !!set {b}", "the tag .*:set' is not read"),
        ("a: !!binary aGk=", "the tag .*:binary' is not read"),
        ("a: &a [*a]", r"the alias \*a stands inside of what it names"),
        ("z: " + "[" * 200_000, f"nested more than {MAX_DEPTH} deep"),
        ("{a: " * 3000, f"nested more than {MAX_DEPTH} deep"),
    ],
)
def test_what_is_wrong_in_yaml_is_one_sentence(text, message):
    with pytest.raises(DataError, match=message) as error:
        parse_yaml(text, "here", error=DataError)
    assert str(error.value).startswith("here") and len(str(error.value)) < 300


def test_keys_may_be_numbers_where_that_is_said():
    assert parse_yaml("{0.0: a, 1: b, c: d}", "x", number_keys=True) == {0.0: "a", 1: "b", "c": "d"}
    with pytest.raises(ConfigError, match="a key must be a name"):
        parse_yaml("{true: a}", "x", number_keys=True)


def test_nesting_is_allowed_up_to_the_limit():
    assert parse_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH, "x") is not None


@pytest.mark.parametrize("merged", [False, True])
def test_aliases_that_multiply_are_refused_before_they_are_built(merged):
    lines = ["a: &a {" + ", ".join(f"k{i}: x" for i in range(10)) + "}"]
    for name, last in zip("bcdefghi", "abcdefgh"):
        items = ", ".join([f"*{last}"] * 10)
        lines.append(f"{name}: &{name} " + (f"{{<<: [{items}]}}" if merged else f"[{items}]"))
    with pytest.raises(ConfigError, match=f"more than {MAX_NODES:,} values"):
        parse_yaml("\n".join(lines), "x")


def test_pyyaml_without_libyaml_reads_the_same(monkeypatch):
    class Plain(yaml.SafeLoader):
        yaml_implicit_resolvers = documents._Loader.yaml_implicit_resolvers

    monkeypatch.setattr(documents, "_Loader", Plain)
    assert parse_yaml("a: {b: [1, x]}", "x") == {"a": {"b": [1, "x"]}}
    for text in ("a: [1", "a: 1\na: 2", "[" * 3000, "a: !!set {b}", "a: \x07", "a: &a [*a]", "a: 2026-13-45"):
        with pytest.raises(ConfigError):
            parse_yaml(text, "x")


# JSON


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON: Expecting"),
        ("", "is not JSON: Expecting"),
        ('{"a": NaN}', "is not JSON: NaN"),
        ("[-Infinity]", "is not JSON: -Infinity"),
        ('{"a": {"b": 1, "b": 2}}', "is not JSON: the key 'b' stands twice"),
        ("9" * 5000, "is not JSON: "),
        ("[" * 200_000, "is nested too deeply"),
    ],
)
def test_what_is_wrong_in_json_is_one_sentence(tmp_path, text, message):
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(RecordError, match=f"^the record .*run.json {message}"):
        read_json(path, "record")


def test_json_is_read_and_its_objects_shrunk(tmp_path):
    assert parse_json('{"a": [1, 2.5, null, "x"]}', "x") == {"a": [1, 2.5, None, "x"]}
    (tmp_path / "a.json").write_text('[{"id": 1, "long": "x"}, {"id": 2}]')
    assert read_json(tmp_path / "a.json", error=DataError, shrink=lambda entry: entry["id"]) == [1, 2]
