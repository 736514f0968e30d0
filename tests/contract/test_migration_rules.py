"""What ``make check`` refuses in a revision: locks that keep writers out, and broken processes."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa
from alembic import op

from migrations.concurrently import create_index_concurrently, validate
from migrations.lint import TWO_TABLES, find

Upgrade = Callable[[], None]


def an_index() -> None:
    op.create_index("users_status_idx", "users", ["status"])


def an_index_in_a_transaction() -> None:
    op.create_index("users_status_idx", "users", ["status"], postgresql_concurrently=True)


def a_unique_constraint() -> None:
    op.create_unique_constraint("users_email_key", "users", ["email"])


def a_check() -> None:
    op.create_check_constraint("users_email_check", "users", "email <> ''")


def a_foreign_key() -> None:
    op.create_foreign_key("posts_author_id_fkey", "posts", "users", ["author_id"], ["id"])


def a_column_that_refers() -> None:
    op.add_column("posts", sa.Column("editor_id", sa.Uuid, sa.ForeignKey("users.id")))


def a_mandatory_column() -> None:
    op.alter_column("users", "email", nullable=False)


def a_mandatory_new_column() -> None:
    op.add_column("users", sa.Column("name", sa.Text, nullable=False))


def a_volatile_default() -> None:
    default = sa.text("gen_random_uuid()")
    op.add_column("users", sa.Column("tag", sa.Uuid, server_default=default))


def a_generated_column() -> None:
    op.add_column("users", sa.Column("size", sa.Integer, sa.Computed("length(email)")))


def another_type() -> None:
    op.alter_column("users", "version", type_=sa.Integer)


def another_column_name() -> None:
    op.alter_column("users", "email", new_column_name="mail")


def another_table_name() -> None:
    op.rename_table("users", "people")


def a_dropped_column() -> None:
    op.drop_column("users", "email")


def a_dropped_table() -> None:
    op.drop_table("users")


def two_tables() -> None:
    op.add_column("users", sa.Column("name", sa.Text))
    op.add_column("posts", sa.Column("name", sa.Text))


def a_table_and_a_trigger_of_another() -> None:
    op.add_column("posts", sa.Column("name", sa.Text))
    op.execute("CREATE TRIGGER count AFTER INSERT ON users EXECUTE FUNCTION count()")


def a_foreign_key_beside_another_table() -> None:
    op.create_foreign_key(
        "posts_author_id_fkey", "posts", "users", ["author_id"], ["id"], postgresql_not_valid=True
    )


def a_dropped_trigger_beside_another_table() -> None:
    op.add_column("posts", sa.Column("name", sa.Text))
    op.execute("DROP TRIGGER count ON users")


def a_table_by_its_quoted_name_beside_another() -> None:
    op.execute('ALTER TABLE ONLY "posts" ADD COLUMN name text')
    op.execute("ALTER TABLE IF EXISTS users ADD COLUMN name text")


REFUSED: dict[Upgrade, str] = {
    an_index: "require-concurrent-index-creation",
    an_index_in_a_transaction: "ban-concurrent-index-creation-in-transaction",
    a_unique_constraint: "disallowed-unique-constraint",
    a_check: "constraint-missing-not-valid",
    a_foreign_key: "adding-foreign-key-constraint",
    a_column_that_refers: "adding-foreign-key-constraint",
    a_mandatory_column: "adding-not-nullable-field",
    a_mandatory_new_column: "adding-required-field",
    a_volatile_default: "adding-field-with-default",
    a_generated_column: "adding-field-with-default",
    another_type: "changing-column-type",
    another_column_name: "renaming-column",
    another_table_name: "renaming-table",
    a_dropped_column: "ban-drop-column",
    a_dropped_table: "ban-drop-table",
    two_tables: TWO_TABLES,
    a_table_and_a_trigger_of_another: TWO_TABLES,
    a_foreign_key_beside_another_table: TWO_TABLES,
    a_dropped_trigger_beside_another_table: TWO_TABLES,
    a_table_by_its_quoted_name_beside_another: TWO_TABLES,
}


@pytest.mark.parametrize("upgrade", REFUSED, ids=lambda upgrade: upgrade.__name__)
def test_what_locks_or_breaks_is_refused(upgrade: Upgrade) -> None:
    rule = REFUSED[upgrade]
    assert rule in {each.rule for each in find("revision.py", upgrade, "")}
    assert not [
        each
        for each in find("revision.py", upgrade, f"# allow {rule}: nobody uses it\n")
        if each.rule == rule
    ]


def a_careful_revision() -> None:
    """What the remedies look like, for two tables and a new one."""
    validate("users", "users_email_check")
    create_index_concurrently("posts_title_idx", "posts", ["title"])
    op.add_column("users", sa.Column("name", sa.Text, nullable=False, server_default=""))
    op.create_check_constraint("users_name_check", "users", "name <> ''", postgresql_not_valid=True)
    op.create_table("tags", sa.Column("name", sa.Text, nullable=False))
    op.create_index("tags_name_idx", "tags", ["name"])


def test_the_remedies_are_accepted() -> None:
    assert find("revision.py", a_careful_revision, "") == []


def test_an_exception_needs_a_reason_and_a_use() -> None:
    [finding] = find("revision.py", a_dropped_column, "# allow ban-drop-column\n")
    assert finding.rule == "ban-drop-column"
    [finding] = find("revision.py", lambda: None, "# allow ban-drop-column: unused\n")
    assert "without need" in finding.message
