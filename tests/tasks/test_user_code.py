"""What is recorded of the packages that a user's field imports."""

import json
import sys
from importlib import import_module

import pytest

from nodebench.tasks import user_code
from nodebench.tasks.user_code import identify, load_module

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("origin", "version"),
    [
        (json.dumps({"url": "u", "vcs_info": {"vcs": "git", "commit_id": COMMIT}}), f"1.0@{COMMIT}"),
        (json.dumps({"url": "u", "archive_info": {}}), "1.0"),
        (json.dumps({"vcs_info": None}), "1.0"),
        ("[]", "1.0"),
        ("no json", "1.0"),
        (None, "1.0"),
    ],
)
def test_a_package_is_known_by_its_version_and_its_commit_where_there_is_one(tmp_path, monkeypatch, origin, version):
    home = tmp_path / "site-packages"
    info = home / "fieldbox-1.0.dist-info"
    info.mkdir(parents=True)
    (home / "fieldbox.py").write_text("import torch\n\n\nclass Drift(torch.nn.Module):\n    pass\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fieldbox\nVersion: 1.0\n")
    (info / "top_level.txt").write_text("fieldbox\n")
    (info / "RECORD").write_text("fieldbox.py,sha256=one,10\n")
    if origin is not None:
        (info / "direct_url.json").write_text(origin)
    monkeypatch.syspath_prepend(home)
    forget = (user_code._owners, user_code.installed)
    for one in forget:
        one.cache_clear()
    sys.modules.pop("fieldbox", None)
    try:
        assert import_module("fieldbox").__file__ == str(home / "fieldbox.py")
        found = identify("fieldbox:Drift", load_module("fieldbox:Drift"))
    finally:
        sys.modules.pop("fieldbox", None)
        for one in forget:
            one.cache_clear()
    assert (found.modules, found.packages) == ({}, {"fieldbox": version})
