"""Type checkers are told what the package itself takes."""

import pathlib

import tfcompress
from tests.typing.stubs import ROOT, stubs

HELP = "Write them anew: PYTHONPATH=. python tests/typing/stubs.py"


def test_stubs_say_what_the_package_takes():
    stale = [
        file.relative_to(ROOT)
        for file, content in stubs().items()
        if not file.exists() or file.read_text() != content
    ]
    assert not stale, HELP


def test_no_stub_is_left_of_what_is_gone():
    assert {*ROOT.rglob("*.pyi")} == {*stubs()}


def test_users_type_checkers_may_read_them():
    assert pathlib.Path(tfcompress.__file__).with_name("py.typed").exists()
