"""Where a number comes from, on this system and on pretended ones."""

import subprocess

import pytest

from fglib.lab.records import provenance, revision


def test_the_environment_names_the_revision_before_git_does(monkeypatch):
    monkeypatch.setenv("FGLIB_REVISION", "v1.2-image")
    assert revision() == provenance()["revision"] == "v1.2-image"
    monkeypatch.delenv("FGLIB_REVISION")
    assert revision() != "v1.2-image"


@pytest.mark.parametrize("error", [FileNotFoundError("git"), subprocess.CalledProcessError(128, "git")])
def test_without_git_or_a_checkout_there_is_no_revision(monkeypatch, error):
    def run(*args, **kwargs):
        raise error

    monkeypatch.delenv("FGLIB_REVISION", raising=False)
    monkeypatch.setattr(subprocess, "run", run)
    assert revision() is None
