"""API keys, ids, names and scopes of service accounts: their one form, and everything else."""

import re
import string
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_service.services import model
from tests.support.refusals import refusal

GUIDE = Path(__file__).parents[2] / "docs" / "service-accounts.md"
BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


def texts(length: int) -> st.SearchStrategy[str]:
    return st.text(BASE62, min_size=length, max_size=length)


keys = st.builds(model.ApiKey, texts(model.KEY_ID_LENGTH), texts(model.KEY_SECRET_LENGTH))


class TestApiKey:
    """``usersync_<id>_<secret>_<check>``."""

    @given(keys)
    def test_what_is_written_is_read(self, key: model.ApiKey) -> None:
        assert model.ApiKey.parse(key.text) == key
        assert re.fullmatch(model.KEY_PATTERN, key.text)

    @given(keys, st.integers(0), st.characters())
    def test_no_character_can_be_another(self, key: model.ApiKey, place: int, other: str) -> None:
        text = key.text
        place %= len(text)
        changed = text[:place] + other + text[place + 1 :]
        assert (model.ApiKey.parse(changed) is not None) == (changed == text)

    @given(keys, st.integers(0))
    def test_characters_do_not_change_places(self, key: model.ApiKey, place: int) -> None:
        text = key.text
        place %= len(text) - 1
        swapped = text[:place] + text[place + 1] + text[place] + text[place + 2 :]
        assert (model.ApiKey.parse(swapped) is not None) == (swapped == text)

    @given(keys, st.integers(0))
    def test_half_a_key_is_none(self, key: model.ApiKey, length: int) -> None:
        assert model.ApiKey.parse(key.text[: length % len(key.text)]) is None

    @given(st.text() | keys.map(lambda key: f"{key.text[:-6]}000000"))
    def test_other_texts_are_no_keys(self, text: str) -> None:
        """Neither any text nor one of the right form with an invented checksum."""
        assert model.ApiKey.parse(text) is None

    @pytest.mark.parametrize("around", ["{} ", " {}", "{}\n", "\ufeff{}", "x{}", "{}x", "{0}{0}"])
    def test_nothing_stands_around_it(self, around: str) -> None:
        assert model.ApiKey.parse(around.format(model.ApiKey.new().text)) is None

    def test_the_check_is_the_documented_one(self) -> None:
        """CRC-32 in base 62, so that a scanner can tell a key from a text that looks like one."""
        signed, _, check = model.ApiKey.new().text.rpartition("_")
        number = 0
        for character in check:
            number = number * 62 + BASE62.index(character)
        assert number == crc32(signed.encode())

    def test_new_keys_are_as_hard_to_guess_as_32_random_bytes(self) -> None:
        """No two are the same, all characters are used, and the secret has 256 bits."""
        made = [model.ApiKey.new() for _ in range(500)]

        assert 62**model.KEY_SECRET_LENGTH > 2**256
        assert len({key.id for key in made}) == len({key.secret for key in made}) == 500
        assert set("".join(key.secret for key in made)) == set(BASE62)
        assert {(len(key.id), len(key.secret)) for key in made} == {
            (model.KEY_ID_LENGTH, model.KEY_SECRET_LENGTH)
        }

    def test_printing_one_shows_no_secret(self) -> None:
        key = model.ApiKey.new()
        assert key.secret not in f"{key} {key!r} {[key]}"
        assert key.id in repr(key)

    def test_the_guide_publishes_the_form(self) -> None:
        """The expression for secret scanners is the one that parses keys."""
        guide = GUIDE.read_text()
        assert f"\\b{model.KEY_PATTERN}\\b" in guide
        assert f"{model.BRAND}_" in guide


class TestAccounts:
    """Ids, names and scopes."""

    def test_an_id_is_never_a_name_or_a_users_id(self) -> None:
        """``svc_`` and random characters; no name starts like that."""
        made = {model.new_service_id() for _ in range(200)}
        assert len(made) == 200
        for service_id in made:
            assert re.fullmatch(model.SERVICE_ID_PATTERN, service_id)
            refusal(model.BadServiceName, model.require_valid_name, service_id)

    def test_a_name_is_plain(self) -> None:
        for name in (
            *("a", "Blog", "feed-importer", "feed_importer", "2.0", "a" * model.NAME_LENGTH_MAX),
        ):
            model.require_valid_name(name)

    def test_another_name_is_refused(self) -> None:
        """And the error does not repeat it."""
        for name in (
            *("", "a" * 65, "a b", "_a", "svc_0123456789abcdef", "-a", ".", "é", "a\n", "a/b"),
        ):
            refused = refusal(model.BadServiceName, model.require_valid_name, name)
            assert len(name) < 5 or name not in str(refused), name

    def test_scopes_are_known_ones_once_each(self) -> None:
        assert model.validate_scopes([*model.SCOPES, *model.SCOPES]) == tuple(sorted(model.SCOPES))
        assert model.validate_scopes(["posts:write"]) == ("posts:write",)

    @pytest.mark.parametrize("scopes", [[], ["posts:read"], ["posts:write", ""], ["POSTS:WRITE"]])
    def test_other_scopes_are_refused(self, scopes: list[str]) -> None:
        """None at all, too: such an account could do nothing."""
        refusal(model.UnknownScope, model.validate_scopes, scopes)
