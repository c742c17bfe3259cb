import pytest

from nodebench import cores


@pytest.mark.parametrize(
    ("quota", "usable"),
    [
        (None, 8),
        ("max 100000", 8),
        ("max", 8),
        ("250000 100000", 2),
        ("50000 100000", 1),
        ("400000", 4),
        ("9900000 100000", 8),
    ],
)
def test_usable_cores_are_cut_to_the_quota_of_a_container(monkeypatch, quota, usable):
    monkeypatch.setattr(cores, "system_file", {"/sys/fs/cgroup/cpu.max": quota}.get)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))
    assert cores.usable_cores() == usable


def test_a_file_that_is_absent_has_no_text(tmp_path):
    there = tmp_path / "cpu.max"
    there.write_text("max 100000\n")
    assert cores.system_file(str(there)) == "max 100000"
    assert cores.system_file(str(tmp_path / "absent")) is None
