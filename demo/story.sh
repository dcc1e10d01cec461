#!/usr/bin/env bash
# The story that `make demo` tells: a bug goes live, its fix is replayed beside it, compared, shown, taken back, kept.
set -euo pipefail
cd "$(dirname "$0")/.."
kappa=.venv/bin/kappa
home=${KAPPA_HOME:-.kappa}

bold='' dim='' plain=''
if [[ -t 1 ]]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; fi
say() { printf '\n%s\n' "$bold$*$plain"; }
run() { printf '%s\n' "$dim\$ kappa $*$plain"; "$kappa" "$@"; }

"$kappa" up
if [[ -e $home/demo/done ]]; then
  say "The story was told in $home already (make clean starts it over). What it left:"
  run status
  cat demo/next_commands.txt
  exit
fi

say "1  The log: a year of flights from New York, as they arrived. December is yet to come."
run load flights --until 2013-12-01

say "2  A first release, with a bug: it dates a departure as 'date + time', a day too early for those after midnight."
mkdir -p "$home/demo"
rm -rf "$home/demo/sql"
cp -r sql "$home/demo/sql"
patch -s -p1 -d "$home/demo" <demo/wrong_midnight.patch
run deploy flights --from "$home/demo/sql/flights"
run query flights "$(cat demo/first_query.sql)"

say "3  Traffic goes on: December arrives, 500 records a second. Meanwhile the bug is found, and fixed in the SQL."
"$kappa" load flights --rate 500 >"$home/demo/load.log" 2>&1 &
loader=$!
trap 'kill "$loader" 2>/dev/null || true' EXIT
run plan flights

say "4  The fix is replayed from offset zero, beside the release that readers see."
run deploy flights --no-auto-switch
wait "$loader"
trap - EXIT

say "5  What would change? Compared row by row at one position of the log."
run diff flights --samples 3

say "6  Readers see the fix, in all tables at once; go back; and see it again. No job is restarted for it."
run switch flights
run rollback flights
run switch flights

say "7  Every record of the log is accounted for. The first release goes, with its job, branch and files."
run audit flights
run retire flights r1
run history flights
touch "$home/demo/done"
cat demo/next_commands.txt
