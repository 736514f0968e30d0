"""The defences: where each one stands, what its removal looks like, and which tests must fail."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final


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


_WRITTEN: Final = """
a tombstone outranks every living state
contracts/sync/merge.py: tests/unit/test_merge.py
-return isinstance(state, UserTombstone), state.version
+return False, state.version

a batch locks rows in the order of ids
contracts/sync/merge.py: tests/unit/test_merge.py
-for user_id in sorted(winners, key=attrgetter("int"))]
+for user_id in winners]

no upsert resurrects a user
replica/table.py: tests/integration/test_replica.py
-WHERE (present.deleted_at IS NOT NULL, present.version)
+WHERE (false, present.version)

a replica's table has no unique column of the source's
replica/columns.py: tests/unit/test_replica_tables.py
-if names := [column.name for column in rule.columns if column.name in FIELDS]:
+if names := [column.name for column in rule.columns if column.name in ()]:

a message has a bounded size
contracts/events/envelope.py: tests/unit/test_envelope.py
-    if len(body) > BODY_BYTES_MAX:
+    if False:

an event's data are those of its headers
contracts/events/envelope.py: tests/unit/test_envelope.py
-if state.id != subject or version not in (None, state.version):
+if version not in (None, state.version):

a token is of our issuer
contracts/tokens/verifier.py: tests/unit/test_tokens.py
-if token.issuer != self._issuer:
+if False:

a token is for this audience
contracts/tokens/verifier.py: tests/unit/test_tokens.py
-if token.audience != self._audience:
+if False:

a token is an access token
contracts/tokens/verifier.py: tests/unit/test_tokens.py
-if not isinstance(typ, str) or typ.lower() not in _TYPES:
+if not isinstance(typ, str):

a token's algorithm is the key's
contracts/tokens/verifier.py: tests/unit/test_tokens.py
-if header["alg"] != ALGORITHM:
+if False:

a token is signed
contracts/tokens/verifier.py: tests/unit/test_tokens.py
-raise InvalidToken("the signature does not match") from None
+pass

a token expires
contracts/tokens/verifier.py: tests/unit/test_tokens.py
-if now >= token.expires_at + self._leeway_seconds:
+if False:

a token has a lifetime that we issue
contracts/tokens/verifier.py: tests/unit/test_tokens.py
-if not 0 < token.expires_at - token.issued_at <= LIFETIME_SECONDS_MAX:
+if False:

no token is a user's and a service's
contracts/tokens/verifier.py: tests/unit/test_tokens.py
-if token.client_id.startswith(SERVICE_PREFIX):
+if False:

a key set holds no symmetric key
contracts/tokens/key_set.py: tests/unit/test_key_set.py
-if member.get("kty") == "oct":
+if False:

a key set holds no private key
contracts/tokens/key_set.py: tests/unit/test_key_set.py
-if any(name in member for name in _SECRET_MEMBERS):
+if False:

a key has a safe length
contracts/tokens/key_set.py: tests/unit/test_key_set.py
-if not RSA_BITS_MIN <= modulus.bit_length() <= RSA_BITS_MAX:
+if not modulus.bit_length() <= RSA_BITS_MAX:

base64url has one spelling
contracts/encodings.py: tests/unit/test_tokens.py tests/unit/test_refresh_token.py
-if last is None or (last and text[-1] not in last) or not _ALPHABET.fullmatch(text):
+if last is None or not _ALPHABET.fullmatch(text):

a refresh token was made here
auth_service/sessions/refresh_token.py: tests/unit/test_refresh_token.py
-if not secrets.is_mac(_PURPOSE, signed, mac):
+if False:

a refresh token that was used before ends its session
auth_service/sessions/model.py: tests/integration/test_sessions.py
-    return Verdict.REUSED
+    return Verdict.REPEATED

a stored hash cannot ask for the machine's memory
auth_service/users/passwords.py: tests/unit/test_passwords.py
-return _is_affordable(password_hash) and self._hasher.verify(
+return self._hasher.verify(

no password matches
auth_service/users/passwords.py: tests/unit/test_passwords.py
-return matches and password_hash is not None
+return matches

a password is one in every way of typing it
auth_service/users/passwords.py: tests/unit/test_passwords.py
-return unicodedata.normalize("NFKC", password)
+return password

a disabled user may do nothing
blog_service/policy.py: tests/unit/test_policy.py
-if actor.status not in MAY_ACT:
+if False:

a service changes its own posts alone
blog_service/policy.py: tests/unit/test_policy.py
-return thing.service_id == actor.id
+return True

a body has a bounded size though its length is not announced
service_kit/http/body_limits.py: tests/unit/test_http_middleware.py
-if read > self._bytes_max:
+if False:

requests are served until load balancers have noticed a shutdown
service_kit/http/serving.py: tests/end_to_end/test_shutdown.py
-await asyncio.sleep(shutdown_delay_seconds)
+await asyncio.sleep(0)

a connection that the kernel has accepted is served at a shutdown
service_kit/http/serving.py: tests/integration/test_http_shutdown.py
-self._accept_waiting(sockets or [])
+pass

a request of which a part has arrived is served at a shutdown
service_kit/http/protocol.py: tests/end_to_end/test_shutdown.py
-if self.transport.is_closing() or self._awaited == "head":
+if self.transport.is_closing():

JSON has each name once
service_kit/http/strict_json.py: tests/unit/test_strict_json.py
-if len(value) != len(pairs) or len(pairs) > MEMBERS_MAX or objects > OBJECTS_MAX:
+if len(pairs) > MEMBERS_MAX or objects > OBJECTS_MAX:

a repair deletes few users, unless an operator allows more
replica/reconcile/model.py: tests/unit/test_reconcile_model.py
-if orphans <= deletions_max:
+if True:

a clock that was set back does not stop comparisons
replica/reconcile/model.py: tests/unit/test_reconcile_model.py
-if every_seconds and not 0 <= seconds_since < every_seconds:
+if every_seconds and seconds_since >= every_seconds:

tags in a text are shown as they were typed
blog_service/markdown.py: tests/unit/test_markdown.py
-options: Any = {"html": False,
+options: Any = {"html": True,

a link leads where links may lead
blog_service/markdown.py: tests/unit/test_markdown.py
-return _ADDRESS.match(url) is not None
+return True

an address that is no plain one is dropped
blog_service/markdown.py: tests/unit/test_markdown.py
-        url_schemes=set(SCHEMES),
+        url_schemes={*SCHEMES, "javascript"},

a text turns no other text round
blog_service/texts.py: tests/unit/test_texts.py
-if _BIDI_OVERRIDE.search(text) or not _isolates_are_needed(text):
+if not _isolates_are_needed(text):

no name looks like that of a deleted user
blog_service/texts.py: tests/unit/test_texts.py
-if _letters(text) == _letters(DELETED_USER):
+if text == DELETED_USER:

an event counts as published when it is confirmed
service_kit/broker/bulk_publish.py: tests/integration/test_relay_refusals.py
-            return Answer.NACKED
+            return Answer.CONFIRMED

an urgent event overtakes others, and leaves room for them
auth_service/outbox/backlog.py: tests/integration/test_relay_claims.py
-max(1, limit // 2)
+limit

a refused urgent event holds nobody up
auth_service/outbox/backlog.py: tests/integration/test_relay_claims.py
-[: max(1, limit - len(urgent))]
+[: limit - len(urgent)]

a message that does not fit the broker is not sent
auth_service/outbox/publisher.py: tests/integration/test_relay_set_aside.py
-len((event.payload or "").encode()) <= BODY_BYTES_MAX
+True

an imported hash takes a bounded time to check
auth_service/users/foreign_hashes.py: tests/unit/test_foreign_hashes.py
-    if value > most:
+    if False:

an imported hash is too long to guess
auth_service/users/foreign_hashes.py: tests/unit/test_foreign_hashes.py
-if not _HASH_BYTES_MIN <= len(decoded) <= _HASH_BYTES_MAX:
+if len(decoded) > _HASH_BYTES_MAX:

imported hashes that take much memory are checked one at a time
auth_service/users/passwords.py: tests/unit/test_foreign_hashes.py
-if foreign.memory > MEMORY_MAX_IN_PARALLEL
+if False

a file without ids, run again, brings nobody back unasked
auth_service/imports/sources.py: tests/unit/test_import_sources.py
-    if account.id is None and not form.without_ids:
+    if False:

no import revives a deleted user
auth_service/imports/model.py: tests/unit/test_import_model.py
-            return DELETED
+            return NEW

an import claims addresses before it reads who has them
auth_service/imports/load.py: tests/integration/test_users_import.py
-        claim=earlier is None,
+        claim=False,

an import lets live events pass
auth_service/imports/pace.py: tests/integration/test_users_import.py
-    if await connection.scalar(_WAITING, {"most": most}) == most:
+    if False:

an index is built while writers continue
migrations/concurrently.py: tests/integration/test_migrations_and_writers.py -k test_nobody_waits
-op.create_index(name, table, columns, postgresql_concurrently=True, **options)
+op.create_index(name, table, columns, **options)

what an interrupted migration left of an index is dropped
migrations/concurrently.py: tests/integration/test_migrations_and_writers.py -k test_an_interrupted
-    drop_index_concurrently(name, table)
+    pass

a run of migrations holds no snapshot while it waits for another one
migrations/environment.py: tests/integration/test_migrations_and_writers.py -k test_an_index_waits
-select(func.pg_try_advisory_lock(ADVISORY_LOCK))
+select(func.pg_advisory_lock(ADVISORY_LOCK).is_not(None))

a migration that meets a lock tries again
migrations/environment.py: tests/integration/test_migrations_and_writers.py -k meets_a_lock
-if not is_locked(error) or attempt == LOCK_ATTEMPTS:
+if True:

a message that kills the process is parked
replica/inbox/settle.py: tests/integration/test_consumer_processes.py -k test_a_message_that_kills
-if processes > self._settings.attempts_max:
+if False:
"""
"""Like patches: a defence's name, its file and tests, its line, and what stands there without."""


def _read(written: str) -> Iterator[Defence]:
    for block in written.strip().split("\n\n"):
        name, where, line, without = block.split("\n")
        file, _, tests = where.partition(": ")
        yield Defence(name, file, line.removeprefix("-"), without.removeprefix("+"), tests)


DEFENCES: Final = tuple(_read(_WRITTEN))
