"""Roles of least privilege in PostgreSQL: what a job's role commits moves nothing that readers see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import SqlCatalog

from jobs.product.folder import Product
from replay.database import sqlstate, timed, with_driver
from replay.errors import ConflictError, RefusedError
from replay.finding import Finding
from replay.iceberg import catalog_checks, lake, readers, table_changes
from replay.settings import Settings
from replay.store.store import Store
from tests.postgres_server import Server
from tests.unit.lake_tables import make_product, make_settings, publish, sink_all
from tests.unit.test_store import ATTEMPT, lease

SQL = (Path(__file__).parents[2] / "deploy" / "postgresql" / "roles.sql").read_text()
BRANCH = "r1-a1"


@dataclass
class Installed:
    """A database with the roles, and a login of each."""

    server: Server
    url: str
    folder: Path
    settings: Settings

    def login(self, role: str) -> str:
        """The URL of a login that has the role."""
        name = f"{role}_{sa.make_url(self.url).database}"
        with self.owner() as c:
            if (
                c.scalar(
                    sa.text("SELECT count(*) FROM pg_roles WHERE rolname = :name"), {"name": name}
                )
                == 0
            ):
                c.exec_driver_sql(
                    f"CREATE ROLE {name} LOGIN PASSWORD '{self.server.password}' IN ROLE {role}"
                )
                c.exec_driver_sql(
                    f"ALTER ROLE {name} SET search_path = {'readers' if 'reader' in role else 'public'}"
                )
        return self.url.replace("//kappa:", f"//{name}:")

    def make_roles(self) -> None:
        with self.owner() as c:
            driver = c.connection.driver_connection
            assert driver
            driver.execute(SQL)  # as it is: it has per cent signs

    def owner(self) -> sa.Connection:
        return self.server.engine(sa.make_url(self.url).database or "").connect()

    def settings_of(self, role: str) -> Settings:
        catalog = self.settings.catalog
        options = {**catalog.pyiceberg, "uri": self.login(role)}
        return self.settings.model_copy(
            update={
                "catalog": catalog.model_copy(update={"pyiceberg": options}),
                "store": self.login(role),
            }
        )


@pytest.fixture
def installed(postgresql: Server, tmp_path: Path) -> Installed:
    url = postgresql.database()
    made = Installed(postgresql, url, tmp_path, make_settings(tmp_path))
    for _ in range(2):  # it may be run again
        made.make_roles()
    return made


@pytest.fixture
def controller(installed: Installed) -> Iterator[Catalog]:
    with closing(lake.open_catalog(installed.settings_of("kappa_controller"))) as catalog:
        yield catalog


@pytest.fixture
def job(installed: Installed) -> Iterator[Catalog]:
    with closing(lake.open_catalog(installed.settings_of("kappa_job"))) as catalog:
        yield catalog


@pytest.fixture
def reader(installed: Installed) -> Iterator[Catalog]:
    with closing(lake.open_catalog(installed.settings_of("kappa_reader"))) as catalog:
        yield catalog


@pytest.fixture
def product(controller: Catalog, tmp_path: Path) -> Product:
    made = make_product(tmp_path)
    table_changes.ensure(controller, made)
    lake.create_branch(controller, made, BRANCH)
    return made


def main(catalog: Catalog, product: Product) -> dict[str, int]:
    return dict(lake.published(catalog, product).snapshots)


def test_a_job_commits_and_readers_see_it_once_it_is_published(
    controller: Catalog, job: Catalog, reader: Catalog, product: Product
) -> None:
    assert lake.pointers(reader, "shop") == {}
    one, two = sink_all(job, product, BRANCH, 1), sink_all(job, product, BRANCH, 2)
    publish(controller, product, one)
    assert main(reader, product) == one
    three = sink_all(job, product, BRANCH, 3)
    publish(controller, product, two)
    assert main(reader, product) == two
    publish(controller, product, three)
    publish(controller, product, one)  # a rollback
    assert main(reader, product) == one == main(controller, product)
    assert reader.list_tables("shop") == controller.list_tables("shop")


def test_a_job_that_moves_main_moves_nothing_that_readers_see(
    controller: Catalog, job: Catalog, reader: Catalog, product: Product
) -> None:
    one, two, three = (sink_all(job, product, BRANCH, checkpoint) for checkpoint in (1, 2, 3))
    publish(controller, product, one)
    set_main(job, three)
    # another commit of the controller does not show it either
    lake.create_branch(controller, product, "r2-a1")
    assert main(reader, product) == one
    with pytest.raises(ConflictError, match="somebody else moved main of product shop"):
        publish_from(controller, product, two, one)
    assert main(reader, product) == one
    set_main(job, one)
    publish_from(controller, product, two, one)
    assert main(reader, product) == two


def test_a_job_that_moves_main_of_one_table_to_where_it_comes_next_does_not_part_the_tables(
    controller: Catalog, job: Catalog, reader: Catalog, product: Product
) -> None:
    one, two = sink_all(job, product, BRANCH, 1), sink_all(job, product, BRANCH, 2)
    publish(controller, product, one)
    set_main(job, two)
    publish_from(controller, product, two, one)
    assert main(reader, product) == two


def test_a_controller_without_its_role_is_told_so(
    controller: Catalog, job: Catalog, reader: Catalog, product: Product
) -> None:
    one, two = sink_all(job, product, BRANCH, 1), sink_all(job, product, BRANCH, 2)
    publish(controller, product, one)
    with pytest.raises(RefusedError, match="the Iceberg catalog does not permit this") as e:
        publish_from(job, product, two, one)
    assert e.value.expected == "a role with the privileges for it at the catalog"
    assert main(reader, product) == main(controller, product) == one


def set_main(catalog: Catalog, snapshots: dict[str, int]) -> None:
    """Of one table."""
    catalog.load_table("shop.orders").manage_snapshots().set_current_snapshot(
        snapshots["orders"]
    ).commit()


def publish_from(
    catalog: Catalog, product: Product, after: dict[str, int], before: dict[str, int]
) -> None:
    from replay.iceberg import publish as publishing
    from replay.iceberg.commits import no_fence

    publishing.publish(catalog, product, after, before, fence=no_fence, sleep=lambda _: None)


def test_what_readers_see_stays_however_much_a_job_commits(
    controller: Catalog, job: Catalog, reader: Catalog, product: Product
) -> None:
    """Iceberg deletes the metadata files that drop out of a table's log of them."""
    table = controller.load_table("shop.orders")
    with table.transaction() as transaction:
        transaction.set_properties({"write.metadata.previous-versions-max": "1"})
    one = sink_all(job, product, BRANCH, 1)
    publish(controller, product, one)
    for checkpoint in range(2, 6):
        sink_all(job, product, BRANCH, checkpoint)
    assert main(reader, product) == one
    assert reader.load_table("shop.orders").scan().to_arrow().num_rows == 0


def test_metadata_files_that_nobody_needs_any_more_are_deleted(
    installed: Installed,
    controller: SqlCatalog,
    job: Catalog,
    reader: Catalog,
    product: Product,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    publish(controller, product, sink_all(job, product, BRANCH, 1))
    folder = Path(job.load_table("shop.orders").metadata_location.removeprefix("file://")).parent
    for checkpoint in range(2, 6):
        two = sink_all(job, product, BRANCH, checkpoint)
    assert len(list(folder.glob("*.metadata.json"))) > 4
    monkeypatch.setattr(readers, "KEPT", "0 seconds")
    publish(controller, product, two)
    needed = {lake.pointers(c, "shop")["orders"] for c in (job, reader)}
    assert {f"file://{f}" for f in folder.glob("*.metadata.json")} == needed
    with installed.owner() as c:
        assert c.scalar(sa.text("SELECT count(*) FROM readers.replaced_metadata")) == 0


def test_a_table_that_is_dropped_is_gone_for_readers(
    controller: Catalog, job: Catalog, reader: Catalog, product: Product
) -> None:
    publish(controller, product, sink_all(job, product, BRANCH, 1))
    controller.drop_table("shop.totals")
    assert set(lake.pointers(reader, "shop")) == {"orders", "rejects"}


def test_what_readers_saw_before_the_roles_were_made_they_see_after(
    postgresql: Server, tmp_path: Path
) -> None:
    url = postgresql.database()
    (tmp_path / "database").write_text(url)
    installed, product = (
        Installed(postgresql, url, tmp_path, make_settings(tmp_path)),
        make_product(tmp_path),
    )
    with closing(lake.open_catalog(installed.settings)) as catalog:
        table_changes.ensure(catalog, product)
        lake.create_branch(catalog, product, BRANCH)
        one, two = sink_all(catalog, product, BRANCH, 1), sink_all(catalog, product, BRANCH, 2)
        publish(catalog, product, one)
        installed.make_roles()
        with closing(lake.open_catalog(installed.settings_of("kappa_reader"))) as reader:
            assert main(reader, product) == one
            publish(catalog, product, two)  # by a controller that was at work already
            assert main(reader, product) == two


# What each may not do

UPDATE = "UPDATE iceberg_tables SET metadata_location = {new}, previous_metadata_location = metadata_location"
ELSEWHERE = "'file:///elsewhere/metadata/1.metadata.json'"


FORBIDDEN = [
    ("kappa_job", f"UPDATE readers.iceberg_tables SET metadata_location = {ELSEWHERE}"),
    ("kappa_job", "SELECT * FROM readers.iceberg_tables"),
    ("kappa_job", "DELETE FROM readers.replaced_metadata"),
    ("kappa_job", "DELETE FROM iceberg_tables"),
    ("kappa_job", "UPDATE iceberg_tables SET table_name = 'mine'"),
    ("kappa_job", "UPDATE iceberg_tables SET catalog_name = 'mine'"),
    (
        "kappa_job",
        "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name) VALUES ('lake', 'a', 'b')",
    ),
    ("kappa_job", "UPDATE iceberg_namespace_properties SET property_value = ''"),
    ("kappa_job", UPDATE.format(new=ELSEWHERE)),
    ("kappa_job", UPDATE.format(new="replace(metadata_location, 'orders', 'totals')")),
    (
        "kappa_job",
        UPDATE.format(new="replace(metadata_location, 'metadata/', 'metadata/../../x/')"),
    ),
    ("kappa_job", "UPDATE iceberg_tables SET previous_metadata_location = NULL"),
    ("kappa_job", "UPDATE iceberg_tables SET metadata_location = NULL"),
    ("kappa_job", "ALTER TABLE iceberg_tables DISABLE TRIGGER ALL"),
    ("kappa_job", "DROP TRIGGER check_commit ON iceberg_tables"),
    ("kappa_job", "SET session_replication_role = replica"),
    (
        "kappa_job",
        "CREATE OR REPLACE FUNCTION readers.check_commit() RETURNS trigger LANGUAGE sql AS 'SELECT 1'",
    ),
    ("kappa_job", "CREATE TABLE mine (a int)"),
    ("kappa_job", "SET ROLE kappa_controller"),
    ("kappa_job", "SELECT * FROM attempts"),
    ("kappa_job", "UPDATE leases SET token = 0"),
    ("kappa_reader", f"UPDATE readers.iceberg_tables SET metadata_location = {ELSEWHERE}"),
    ("kappa_reader", "DELETE FROM readers.iceberg_tables"),
    ("kappa_reader", "SELECT * FROM public.iceberg_tables"),
    ("kappa_reader", "SELECT * FROM public.attempts"),
    ("kappa_reader", "SET ROLE kappa_job"),
    ("kappa_controller", "ALTER TABLE iceberg_tables DISABLE TRIGGER ALL"),
]


def test_a_role_may_do_no_more_than_it_must(
    installed: Installed, controller: Catalog, job: Catalog, reader: Catalog, product: Product
) -> None:
    one = sink_all(job, product, BRANCH, 1)
    publish(controller, product, one)
    Store(installed.login("kappa_controller")).close()
    before = lake.pointers(controller, "shop")
    logins = {
        role: sa.create_engine(with_driver(installed.login(role)), poolclass=sa.NullPool)
        for role, _ in FORBIDDEN
    }
    answers = {statement: answer(logins[role], statement) for role, statement in FORBIDDEN}
    assert {s: code for s, code in answers.items() if code != "42501"} == {}
    assert lake.pointers(controller, "shop") == before
    assert main(reader, product) == one


def test_a_job_commits_with_paths_as_java_writes_them(
    installed: Installed, controller: Catalog, product: Product
) -> None:
    login = sa.create_engine(with_driver(installed.login("kappa_job")), poolclass=sa.NullPool)
    file = "regexp_replace(metadata_location, '[^/]+$', '00009-a.metadata.json')"
    assert lake.pointers(controller, "shop")["orders"].startswith("file:///")
    for as_written in (
        f"regexp_replace({file}, '^file:///', 'file:/')",
        f"regexp_replace({file}, '^file:/', 'file:///')",
    ):
        assert answer(login, UPDATE.format(new=as_written)) is None
    assert (
        answer(login, UPDATE.format(new=f"regexp_replace({file}, '^file:///', 'file://')"))
        == "42501"
    )


def answer(login: sa.Engine, statement: str) -> str | None:
    """PostgreSQL's code for what became of a statement; None: it was done."""
    try:
        with login.begin() as c:
            c.exec_driver_sql(statement)
    except sa.exc.DBAPIError as e:
        return sqlstate(e)
    return None


@pytest.mark.parametrize(
    "open_as",
    [
        pytest.param(lambda i: Store(i.login("kappa_job")), id="a job"),
        pytest.param(lambda i: Store(i.login("kappa_reader")), id="a reader"),
    ],
)
def test_only_the_controller_has_the_store(
    installed: Installed, open_as: Callable[[Installed], object]
) -> None:
    with closing(Store(installed.login("kappa_controller"))) as store:
        store.save(lease(store), ATTEMPT)
    with pytest.raises(RefusedError, match="the controller's store does not permit this"):
        open_as(installed)


def test_the_catalog_is_good_enough_for_the_controller_and_a_job_is_told_what_it_lacks(
    installed: Installed,
) -> None:
    def examined(role: str) -> list[Finding]:
        return catalog_checks.examine(partial(lake.open_catalog, installed.settings_of(role)))

    assert [f"{f.name}: {f.error}" for f in examined("kappa_controller") if f.error] == []
    [refused] = examined("kappa_job")
    assert refused.error is not None
    assert (
        refused.error.message == "this role may not create namespaces, so nothing else was examined"
    )
    assert "permission denied for table iceberg_namespace_properties" in refused.error.found


def test_options_that_somebody_chose_are_kept_beside_the_time_outs() -> None:
    url = sa.make_url(timed("postgresql://u@h/d?options=-c search_path=readers -c lock_timeout=5"))
    options = str(url.query["options"])
    assert "search_path=readers" in options and "statement_timeout=30000" in options
    assert options.count("lock_timeout") == 1
