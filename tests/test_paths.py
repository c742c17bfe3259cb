"""No path leaves its root, and no link is followed when something is written or removed."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodebench.errors import BadInput
from nodebench.paths import file_name, inside, make_folder, open_file, remove_file, write_file

BAD = ["", ".", "..", "../x", "a/b", "/abs", "a\\b", "a\0b"]


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("do", [inside, make_folder, remove_file])
def test_what_is_no_name_leads_nowhere(root, do, name):
    for names in ((name,), ("a", name), (name, "a")):
        with pytest.raises(BadInput, match="is not a valid file name"):
            do(root, *names)
    assert sorted(root.parent.rglob("*")) in ([root], [root, root / "a"])


@given(st.text(st.characters(codec=None), max_size=300))
def test_any_text_makes_one_file_name(text):
    name = file_name(text)
    assert name not in ("", ".", "..")
    assert not set(name) & set("/\\\0:$[]")
    assert len(name.encode()) <= 150
    assert not name.startswith(".")


def test_a_file_name_keeps_letters_of_any_script():
    assert file_name("2026-01-01-研究 ü") == "2026-01-01-研究 ü"
    assert file_name("torchdiffeq:rk4") == "torchdiffeq-rk4"
    assert file_name("x" * 200) != file_name("x" * 201)


def test_a_link_in_the_place_of_a_file_or_a_folder_is_not_followed(root, tmp_path):
    victim, folder = tmp_path / "victim", tmp_path / "folder"
    folder.mkdir()
    victim.write_text("precious")
    (folder / "file").write_text("precious")
    (root / "link").symlink_to(victim)
    (root / "dangling").symlink_to(tmp_path / "absent")
    (root / "sub").symlink_to(folder)
    for names in (("link",), ("dangling",), ("sub", "file"), ("sub", "new")):
        with pytest.raises(BadInput, match="is a symbolic link"):
            write_file(root, *names, content=b"x")
        with pytest.raises(BadInput, match="is a symbolic link"):
            remove_file(root, *names)
    with pytest.raises(BadInput, match="is a symbolic link"):
        make_folder(root, "sub", "new")
    assert victim.read_text() == (folder / "file").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.rglob("*") if not path.is_symlink()) == [
        "file", "folder", "root", "victim",
    ]  # fmt: skip


def test_a_link_that_comes_after_the_check_is_not_followed_either(root, tmp_path, monkeypatch):
    """The last component is opened without following links, whatever was seen before."""
    (tmp_path / "victim").write_text("precious")
    (root / "link").symlink_to(tmp_path / "victim")
    monkeypatch.setattr("pathlib.Path.is_symlink", lambda path: False)
    with pytest.raises(BadInput, match="is a symbolic link"):
        write_file(root, "link", content=b"x")
    assert (tmp_path / "victim").read_text() == "precious"


@pytest.mark.parametrize("mode", ["wb", "ab+", "a+"])
def test_a_pipe_does_not_hang(root, mode):
    os.mkfifo(root / "pipe")
    with pytest.raises(OSError, match=r"not a regular file|No such device"):
        open_file(root, "pipe", mode=mode)
    with pytest.raises(BadInput, match="is not a regular file"):
        remove_file(root, "pipe")


def test_the_root_itself_may_be_a_link(root, tmp_path):
    (tmp_path / "scratch").symlink_to(root)
    write_file(tmp_path / "scratch", "file", content=b"x")
    make_folder(tmp_path / "scratch", "a", "b")
    remove_file(tmp_path / "scratch", "file")
    assert sorted(path.name for path in root.rglob("*")) == ["a", "b"]
