#!/usr/bin/env bash
# The commands of the real server's image: init, run server, run worker QUEUE…
set -euo pipefail

manage=/opt/cvat/manage.py
for script in /etc/cvat/init.d/*; do
  if [[ -r $script ]]; then . "$script"; fi
done

while (($#)); do
  command=$1
  shift
  case $command in
    init)
      "$manage" wait_for_services
      "$manage" migrate --no-input
      if [[ ${CVAT_ANALYTICS:-0} == 1 ]]; then "$manage" make_events_table; fi
      ;;
    run)
      component=$1
      shift
      "$manage" wait_for_services --migrated
      case $component in
        server) exec uvicorn --app-dir /opt/cvat cvat_stand_in.asgi:app --host 0.0.0.0 --port 8080 --log-level warning --no-server-header ;;
        worker) exec "$manage" run_workers "${@%--with-scheduler}" ;;
      esac
      ;;
    *)
      echo "backend_entrypoint.sh: unknown subcommand: $command" >&2
      exit 1
      ;;
  esac
done
