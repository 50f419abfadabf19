# Runs inside PostgreSQL's container: makes the database's password be the one in /run/secrets/password.
set -eu
password=$(cat /run/secrets/password)
if ! PGPASSWORD=$password psql -h "$(hostname)" -U cvat -d cvat -c '' >/dev/null 2>&1; then
  # On standard input, so that no process list shows it; it holds letters and digits only.
  echo "ALTER ROLE cvat PASSWORD '$password'" | psql -q -v ON_ERROR_STOP=1 -U cvat -d cvat
  echo changed
fi
