#!/usr/bin/env bash
# The health check of a container of workers: worker_health.sh QUEUE... --expected-num-workers N. Exits 0 where they are
# alive, else 1. Docker only shows health, so a container whose workers were alive and have not been for three minutes
# ends itself, and its restart policy starts it again.
. /etc/cvat/init.d/passwords

# Named after the start of the container's first process, so that nothing counts from a life before.
alive=/tmp/workers_alive_$(cut -d ' ' -f 22 /proc/1/stat)
if python3 /opt/cvat/manage.py workerprobe "$@"; then
  touch "$alive"
  exit
fi
if [[ -e $alive && $(find "$alive" -mmin +3) ]]; then
  kill 1
fi
exit 1
