"""The defences: where each one stands, what its removal looks like, and which tests must fail."""

from dataclasses import dataclass

MERGE = "tests/unit/test_merge.py"
TOKENS = "tests/unit/test_tokens.py"
ENVELOPE = "tests/unit/test_envelope.py"
KEY_SET = "tests/unit/test_key_set.py"
PASSWORDS = "tests/unit/test_passwords.py"
MIDDLEWARE = "tests/unit/test_http_middleware.py"


@dataclass(frozen=True, slots=True)
class Defence:
    """A line of code that prevents a defect.

    Parameters:
        name: what it prevents, in words.
        file: where it stands, from the root of the checkout.
        line: its text, which stands in the file exactly once.
        without: what stands there when the defence is out.
        tests: arguments for pytest; at least one of the tests fails without the defence.
    """

    name: str
    file: str
    line: str
    without: str
    tests: str


DEFENCES = (
    Defence(
        "a tombstone outranks every living state",
        "contracts/sync/merge.py",
        "return isinstance(state, UserTombstone), state.version",
        "return False, state.version",
        MERGE,
    ),
    Defence(
        "a batch locks rows in the order of ids",
        "contracts/sync/merge.py",
        'for user_id in sorted(winners, key=attrgetter("int"))]',
        "for user_id in winners]",
        MERGE,
    ),
    Defence(
        "no upsert resurrects a user",
        "replica/table.py",
        "WHERE (present.deleted_at IS NOT NULL, present.version)",
        "WHERE (false, present.version)",
        "tests/integration/test_replica.py",
    ),
    Defence(
        "a replica's table has no unique column of the source's",
        "replica/columns.py",
        "if names := [column.name for column in rule.columns if column.name in FIELDS]:",
        "if names := [column.name for column in rule.columns if column.name in ()]:",
        "tests/unit/test_replica_tables.py",
    ),
    Defence(
        "a message has a bounded size",
        "contracts/events/envelope.py",
        "    if len(body) > BODY_BYTES_MAX:",
        "    if False:",
        ENVELOPE,
    ),
    Defence(
        "an event's data are those of its headers",
        "contracts/events/envelope.py",
        "if state.id != subject or version not in (None, state.version):",
        "if version not in (None, state.version):",
        ENVELOPE,
    ),
    Defence(
        "a token is of our issuer",
        "contracts/tokens/verifier.py",
        "if token.issuer != self._issuer:",
        "if False:",
        TOKENS,
    ),
    Defence(
        "a token is for this audience",
        "contracts/tokens/verifier.py",
        "if token.audience != self._audience:",
        "if False:",
        TOKENS,
    ),
    Defence(
        "a token is an access token",
        "contracts/tokens/verifier.py",
        "if not isinstance(typ, str) or typ.lower() not in _TYPES:",
        "if not isinstance(typ, str):",
        TOKENS,
    ),
    Defence(
        "a token's algorithm is the key's",
        "contracts/tokens/verifier.py",
        'if header["alg"] != ALGORITHM:',
        "if False:",
        TOKENS,
    ),
    Defence(
        "a token is signed",
        "contracts/tokens/verifier.py",
        'raise InvalidToken("the signature does not match") from None',
        "pass",
        TOKENS,
    ),
    Defence(
        "a token expires",
        "contracts/tokens/verifier.py",
        "if now >= token.expires_at + self._leeway_seconds:",
        "if False:",
        TOKENS,
    ),
    Defence(
        "a token has a lifetime that we issue",
        "contracts/tokens/verifier.py",
        "if not 0 < token.expires_at - token.issued_at <= LIFETIME_SECONDS_MAX:",
        "if False:",
        TOKENS,
    ),
    Defence(
        "no token is a user's and a service's",
        "contracts/tokens/verifier.py",
        "if token.client_id.startswith(SERVICE_PREFIX):",
        "if False:",
        TOKENS,
    ),
    Defence(
        "a key set holds no symmetric key",
        "contracts/tokens/key_set.py",
        'if member.get("kty") == "oct":',
        "if False:",
        KEY_SET,
    ),
    Defence(
        "a key set holds no private key",
        "contracts/tokens/key_set.py",
        "if any(name in member for name in _SECRET_MEMBERS):",
        "if False:",
        KEY_SET,
    ),
    Defence(
        "a key has a safe length",
        "contracts/tokens/key_set.py",
        "if not RSA_BITS_MIN <= modulus.bit_length() <= RSA_BITS_MAX:",
        "if not modulus.bit_length() <= RSA_BITS_MAX:",
        KEY_SET,
    ),
    Defence(
        "base64url has one spelling",
        "contracts/encodings.py",
        "if last is None or (last and text[-1] not in last) or not _ALPHABET.fullmatch(text):",
        "if last is None or not _ALPHABET.fullmatch(text):",
        f"{TOKENS} tests/unit/test_refresh_token.py",
    ),
    Defence(
        "a refresh token was made here",
        "auth_service/sessions/refresh_token.py",
        "if not secrets.is_mac(_PURPOSE, signed, mac):",
        "if False:",
        "tests/unit/test_refresh_token.py",
    ),
    Defence(
        "a refresh token that was used before ends its session",
        "auth_service/sessions/model.py",
        "    return Verdict.REUSED",
        "    return Verdict.REPEATED",
        "tests/integration/test_sessions.py",
    ),
    Defence(
        "a stored hash cannot ask for the machine's memory",
        "auth_service/users/passwords.py",
        "return _is_affordable(password_hash) and self._hasher.verify(",
        "return self._hasher.verify(",
        PASSWORDS,
    ),
    Defence(
        "no password matches",
        "auth_service/users/passwords.py",
        "return matches and password_hash is not None",
        "return matches",
        PASSWORDS,
    ),
    Defence(
        "a password is one in every way of typing it",
        "auth_service/users/passwords.py",
        'return unicodedata.normalize("NFKC", password)',
        "return password",
        PASSWORDS,
    ),
    Defence(
        "a disabled user may do nothing",
        "blog_service/policy.py",
        "if actor.status not in MAY_ACT:",
        "if False:",
        "tests/unit/test_policy.py",
    ),
    Defence(
        "a service changes its own posts alone",
        "blog_service/policy.py",
        "return thing.service_id == actor.id",
        "return True",
        "tests/unit/test_policy.py",
    ),
    Defence(
        "a body has a bounded size though its length is not announced",
        "service_kit/http/body_limits.py",
        "if read > self._bytes_max:",
        "if False:",
        MIDDLEWARE,
    ),
    Defence(
        "JSON has each name once",
        "service_kit/http/strict_json.py",
        "if len(value) != len(pairs) or len(pairs) > MEMBERS_MAX or objects > OBJECTS_MAX:",
        "if len(pairs) > MEMBERS_MAX or objects > OBJECTS_MAX:",
        "tests/unit/test_strict_json.py",
    ),
    Defence(
        "a repair deletes few users, unless an operator allows more",
        "replica/reconcile/model.py",
        "if orphans <= deletions_max:",
        "if True:",
        "tests/unit/test_reconcile_model.py",
    ),
    Defence(
        "a clock that was set back does not stop comparisons",
        "replica/reconcile/model.py",
        "if every_seconds and not 0 <= seconds_since < every_seconds:",
        "if every_seconds and seconds_since >= every_seconds:",
        "tests/unit/test_reconcile_model.py",
    ),
    Defence(
        "a text turns no other text round",
        "blog_service/texts.py",
        "if _BIDI_OVERRIDE.search(text) or not _isolates_are_needed(text):",
        "if not _isolates_are_needed(text):",
        "tests/unit/test_texts.py",
    ),
    Defence(
        "no name looks like that of a deleted user",
        "blog_service/texts.py",
        "if _letters(text) == _letters(DELETED_USER):",
        "if text == DELETED_USER:",
        "tests/unit/test_texts.py",
    ),
    Defence(
        "an event counts as published when it is confirmed",
        "service_kit/broker/bulk_publish.py",
        "            return Answer.NACKED",
        "            return Answer.CONFIRMED",
        "tests/integration/test_relay_refusals.py",
    ),
    Defence(
        "an urgent event overtakes others, and leaves room for them",
        "auth_service/outbox/backlog.py",
        "max(1, limit // 2)",
        "limit",
        "tests/integration/test_relay_claims.py",
    ),
    Defence(
        "a refused urgent event holds nobody up",
        "auth_service/outbox/backlog.py",
        "[: max(1, limit - len(urgent))]",
        "[: limit - len(urgent)]",
        "tests/integration/test_relay_claims.py",
    ),
    Defence(
        "a message that does not fit the broker is not sent",
        "auth_service/outbox/publisher.py",
        'len((event.payload or "").encode()) <= BODY_BYTES_MAX',
        "True",
        "tests/integration/test_relay_set_aside.py",
    ),
    Defence(
        "a message that kills the process is parked",
        "replica/inbox/settle.py",
        "if processes > self._settings.attempts_max:",
        "if False:",
        "tests/integration/test_consumer_processes.py -k test_a_message_that_kills",
    ),
)
