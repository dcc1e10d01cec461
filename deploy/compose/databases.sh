#!/bin/sh
# Run once, when the server's volume is empty: a database and a role for each that has data here.
set -eu
for name in kappa registry; do
  psql --quiet --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname=postgres \
    --set=name="$name" --set=password="$(cat "/run/secrets/postgres_$name")" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done
