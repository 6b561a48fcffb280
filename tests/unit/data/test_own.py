"""The user's own code: as it is now, from where it was asked for, and no more of it than is needed."""

import pytest

from raymle.data import own
from raymle.errors import SpecError


@pytest.fixture
def folder(tmp_path):
    def make(name="code", **files):
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        for module, text in files.items():
            path = root / f"{module.replace('_in_', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return root

    return make


def test_a_function_is_imported_again_when_its_file_or_a_helper_has_changed(folder):
    root = folder(own_main="from own_helper import by\ndef times(x): return x * by\n", own_helper="by = 2\n")
    assert own.function("own_main:times", root)(3) == 6
    folder(own_helper="by = 5\n")
    assert own.function("own_main:times", root)(3) == 15
    folder(own_main="from own_helper import by\ndef times(x): return x * by + 1\n")
    assert own.function("own_main:times", root)(3) == 16


def test_a_file_that_has_not_changed_is_imported_once(folder):
    root = folder(own_once="def same(x): return x\n")
    assert own.function("own_once:same", root) is own.function("own_once:same", root)


def test_helpers_of_one_folder_do_not_serve_another(folder):
    one = folder("one", own_a="from own_scale import by\ndef f(): return by\n", own_scale="by = 1\n")
    two = folder("two", own_a="from own_scale import by\ndef f(): return by\n", own_scale="by = 2\n")
    assert [own.function("own_a:f", root)() for root in (one, two, one)] == [1, 2, 1]


def test_only_what_is_imported_travels(folder):
    root = folder(
        own_pack_in___init__="", own_pack_in_net="import json\nfrom own_pack import layers\ndef make(): pass\n",
        own_pack_in_layers="width = 3\n", own_driver="raise SystemExit\n", own_secrets="token = 'x'\n",
    )  # fmt: skip
    assert list(own.sources(["own_pack.net:make"], root)) == [
        "own_pack/__init__.py", "own_pack/layers.py", "own_pack/net.py",
    ]  # fmt: skip


def test_the_digest_follows_every_file(folder):
    root = folder(own_d="import own_e\ndef f(): pass\n", own_e="x = 1\n")
    before = own.digest(own.sources(["own_d:f"], root))
    folder(own_e="x = 2\n")
    assert own.digest(own.sources(["own_d:f"], root)) != before


def test_importing_writes_nothing_into_the_folder(folder):
    root = folder(own_clean="def f(): pass\n")
    own.function("own_clean:f", root)
    assert [path.name for path in root.iterdir()] == ["own_clean.py"]


@pytest.mark.parametrize(
    ("text", "says"),
    [("def f(:\n", "own_bad.py:1 is not Python"), ("import nowhere_at_all\n", "there is no module 'nowhere_at_all'"),
     ("1 / 0\n", "importing it fails: ZeroDivisionError"), ("f = 3\n", "has no function 'f'")],
)  # fmt: skip
def test_what_cannot_be_imported_is_one_sentence(folder, text, says):
    root = folder(own_bad=text)
    with pytest.raises(SpecError, match=says):
        own.function("own_bad:f", root)
