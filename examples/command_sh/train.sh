#!/bin/sh
# Minimise (x - 3)^2 by gradient descent: sh train.sh LR START_STEP STEPS SAVE_TO REPORT [LOAD_FROM]
# phyletic starts this once for each trial, with these arguments; study.py says so.
set -eu
lr=$1 step=$2 end=$(($2 + $3)) save_to=$4 report=$5 load_from=${6:-}

x=0 # a newborn starts here
if [ -n "$load_from" ]; then x=$(cat "$load_from/x"); fi

stop=
trap 'stop=yes' TERM # phyletic asks to stop

while [ -z "$stop" ] && [ "$step" -lt "$end" ]; do
    next=$(awk "BEGIN { printf \"%.17g\", $x - $lr * 2 * ($x - 3) }") || break # SIGTERM reaches awk too
    x=$next step=$((step + 1))
done

echo "$x" > "$save_to/x"
loss=$(awk "BEGIN { printf \"%.17g\", ($x - 3) ^ 2 }")
echo "{\"loss\": $loss, \"step\": $step}" >> "$report"
if [ "$step" -lt "$end" ]; then exit 75; fi # hand the trial back; another one continues it
