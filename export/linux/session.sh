# Runs on the board over ssh as `sh -c SCRIPT edgeprune PYTHON BYTES SECONDS`: unpacks an archive, runs its runner.py,
# and removes everything.
#
# Standard input carries the archive of so many bytes and then stays open for as long as the other end is there: its end
# means that the connection is gone. Every part runs in the background, because a shell that waits for one in the
# foreground hears no signals. KILL for the own children of the shell: one that was only just forked may still have the
# traps of its parent and would lose a TERM. Exit codes 91 to 96 name the reason of a failure. No single quotes: all of
# this stands in a pair of them.
python=$1 size=$2 limit=$3 main=$$ folder= worker= watch= link=
umask 077
finish() {
    trap "" HUP INT TERM PIPE
    kill -TERM "-$main" 2>/dev/null
    if [ -n "$worker" ]; then kill -KILL "-$worker" 2>/dev/null; fi
    kill -KILL $watch $link $worker 2>/dev/null
    wait 2>/dev/null
    if [ -n "$folder" ]; then rm -rf "$folder"; fi
}
trap finish EXIT
trap "exit 95" TERM
trap "exit 96" HUP INT PIPE
exec 3<&0 </dev/null
folder=$(mktemp -d "${TMPDIR:-/tmp}/edgeprune.XXXXXXXX") || exit 91
( sleep "$limit"; kill -TERM "$main" ) 3<&- >/dev/null 2>&1 &
watch=$!
( head -c "$size" <&3 | tar -xf - -C "$folder" ) &
worker=$!
wait "$worker" || exit 92
( read -r line <&3; kill -TERM "$main" ) >/dev/null 2>&1 &
link=$!
command -v "$python" >/dev/null 2>&1 || exit 93
( exec "$python" -c "import sys; sys.exit(sys.version_info < (3, 7))" ) 3<&- >/dev/null &
worker=$!
wait "$worker" || exit 94
( exec "$python" "$folder/runner.py" --own-group "$folder" ) 3<&- &
worker=$!
wait "$worker"
code=$?
worker=
exit "$code"
