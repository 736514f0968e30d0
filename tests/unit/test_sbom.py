"""The bill of materials names what the lock file has."""

from local.sbom import LOCK, bill

LOCKED = """\
some-package==1.2.3 ; sys_platform == 'linux' \\
    --hash=sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa \\
    --hash=sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
    # via usersync (pyproject.toml)
"""


def test_a_package_has_its_version_and_the_hashes_that_are_accepted() -> None:
    [found] = bill(LOCKED, "9.9")["components"]
    assert found["purl"] == "pkg:pypi/some-package@1.2.3"
    assert [each["content"] for each in found["hashes"]] == ["a" * 64, "b" * 64]


def test_no_package_of_the_lock_is_left_out() -> None:
    lock = LOCK.read_text()
    named = {each["name"] for each in bill(lock, "9.9")["components"]}
    locked = {line.partition("==")[0] for line in lock.splitlines() if line[:1].isalnum()}
    assert named == locked
    assert "fastapi" in named
