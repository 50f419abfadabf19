# Runs inside PostgreSQL's container: makes the database's password be the one in /run/secrets/password.
set -eu
umask 077
password=$(cat /run/secrets/password)
# In the container's memory: an environment that held it could be read.
passfile=$(mktemp)
trap 'rm "$passfile"' EXIT
printf '*:*:*:*:%s' "$password" >"$passfile"
if ! PGPASSFILE=$passfile psql -w -h "$(hostname)" -U cvat -d cvat -c '' >/dev/null 2>&1; then
  # On standard input, so that no process list shows it; it holds letters and digits only.
  echo "ALTER ROLE cvat PASSWORD '$password'" | psql -q -v ON_ERROR_STOP=1 -U cvat -d cvat
  echo changed
fi
