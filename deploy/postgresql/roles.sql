-- Roles for an Iceberg catalog and the controller's store in one PostgreSQL database. It may be run again.
--
--   psql -v ON_ERROR_STOP=1 -d kappa -f deploy/postgresql/roles.sql      as the database's owner
--
-- A job commits to its branch by putting the name of a new metadata file into iceberg_tables. PostgreSQL cannot read
-- that file, so no rule here could tell a commit that moves `main` from one that does not. Therefore what readers see is
-- kept apart: in the table readers.iceberg_tables, which a job's role cannot write. The controller puts there the
-- metadata that it publishes, in the transaction in which it moves `main`; whatever a job commits, readers see no earlier
-- than the controller has looked at `main` and set it itself.
--
--   kappa_controller   everything; makes and upgrades the store's tables
--   kappa_job          reads the catalog, replaces the metadata of a table that is there: of one in the table's own folder
--   kappa_reader       reads what is published, and nothing else; with `search_path = readers` any client of a JDBC or
--                      SQL catalog finds it
--
-- They have no login of their own: GRANT kappa_job TO the logins that jobs use, and so on.

BEGIN;
SELECT pg_advisory_xact_lock(x'6B61707061'::bigint);  -- the one under which kappa makes tables

DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['kappa_controller', 'kappa_job', 'kappa_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        END IF;
    END LOOP;
END $$;

-- The catalog, as Iceberg's JdbcCatalog (V1) and pyiceberg make it.
CREATE TABLE IF NOT EXISTS public.iceberg_tables (
    catalog_name varchar(255) NOT NULL,
    table_namespace varchar(255) NOT NULL,
    table_name varchar(255) NOT NULL,
    metadata_location varchar(1000),
    previous_metadata_location varchar(1000),
    iceberg_type varchar(5),
    PRIMARY KEY (catalog_name, table_namespace, table_name)
);
CREATE TABLE IF NOT EXISTS public.iceberg_namespace_properties (
    catalog_name varchar(255) NOT NULL,
    namespace varchar(255) NOT NULL,
    property_key varchar(255) NOT NULL,
    property_value varchar(1000) NOT NULL,
    PRIMARY KEY (catalog_name, namespace, property_key)
);

CREATE SCHEMA IF NOT EXISTS readers;
CREATE TABLE IF NOT EXISTS readers.iceberg_tables (LIKE public.iceberg_tables INCLUDING ALL);
CREATE OR REPLACE VIEW readers.iceberg_namespace_properties AS TABLE public.iceberg_namespace_properties;
INSERT INTO readers.iceberg_tables
    (catalog_name, table_namespace, table_name, metadata_location, previous_metadata_location, iceberg_type)
SELECT catalog_name, table_namespace, table_name, metadata_location, previous_metadata_location, iceberg_type
FROM public.iceberg_tables
ON CONFLICT DO NOTHING;  -- what readers saw until now

-- Metadata files that were replaced. A job does not delete them, as readers may need one of them for as long as nothing
-- is published: the controller does.
CREATE TABLE IF NOT EXISTS readers.replaced_metadata (
    metadata_location varchar(1000) PRIMARY KEY,
    catalog_name varchar(255) NOT NULL,
    table_namespace varchar(255) NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS replaced_metadata_of ON readers.replaced_metadata (catalog_name, table_namespace, at);

-- Who may not make tables can only replace the metadata of one by the next: in the same folder, which Java writes as
-- file:/lake where pyiceberg writes file:///lake.
CREATE OR REPLACE FUNCTION readers.check_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF has_table_privilege(TG_RELID, 'INSERT') THEN
        RETURN NEW;
    END IF;
    IF NEW.previous_metadata_location IS DISTINCT FROM OLD.metadata_location
            OR regexp_replace(regexp_replace(NEW.metadata_location, '[^/]+$', ''), '^file:///', 'file:/')
               IS DISTINCT FROM
               regexp_replace(regexp_replace(OLD.metadata_location, '[^/]+$', ''), '^file:///', 'file:/')
            OR NEW.metadata_location ~ '(^|/)\.\.?(/|$)|[?#]' THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('%s may not give table %s.%s the metadata %s', current_user, OLD.table_namespace,
                             OLD.table_name, NEW.metadata_location),
            HINT = 'A job commits the next metadata of a table, in the folder of the table.';
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER check_commit BEFORE UPDATE ON public.iceberg_tables
    FOR EACH ROW EXECUTE FUNCTION readers.check_commit();

-- As the owner, for a job may not write there itself.
CREATE OR REPLACE FUNCTION readers.note_commit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM readers.iceberg_tables AS r WHERE r.catalog_name = OLD.catalog_name
            AND r.table_namespace = OLD.table_namespace AND r.table_name = OLD.table_name;
    END IF;
    IF OLD.metadata_location IS NOT NULL AND (TG_OP = 'DELETE' OR NEW.metadata_location <> OLD.metadata_location) THEN
        INSERT INTO readers.replaced_metadata (metadata_location, catalog_name, table_namespace)
        VALUES (OLD.metadata_location, OLD.catalog_name, OLD.table_namespace) ON CONFLICT DO NOTHING;
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER note_commit AFTER UPDATE OR DELETE ON public.iceberg_tables
    FOR EACH ROW EXECUTE FUNCTION readers.note_commit();

REVOKE ALL ON ALL TABLES IN SCHEMA public, readers FROM PUBLIC, kappa_job, kappa_reader;
REVOKE CREATE ON SCHEMA public, readers FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO kappa_controller;
GRANT USAGE ON SCHEMA readers TO kappa_controller, kappa_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.iceberg_tables, public.iceberg_namespace_properties,
    readers.iceberg_tables, readers.replaced_metadata TO kappa_controller;
GRANT USAGE ON SCHEMA public TO kappa_job;
GRANT SELECT ON public.iceberg_tables, public.iceberg_namespace_properties TO kappa_job;
GRANT UPDATE (metadata_location, previous_metadata_location) ON public.iceberg_tables TO kappa_job;
GRANT SELECT ON readers.iceberg_tables, readers.iceberg_namespace_properties TO kappa_reader;
COMMIT;
