#!/bin/sh
# Trains a whole study with nothing but curl, a shell and awk: any language can do what this does.
#
#   phyletic serve sqlite:///curl.db &
#   PHYLETIC_TOKEN_FILE=curl.token sh examples/service_curl.sh http://127.0.0.1:7071
#
# The "model" is one number, which takes a step of size lr towards 3 in each training step; the score is how near it is.
# Its checkpoint is a text file in a folder of this script's own, named by the trial that left it.
set -eu
server=${1:-http://127.0.0.1:7071}
study=${2:-curl}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# curl reads the header from a file, so that no list of processes shows the token
(umask 077 && printf 'Authorization: Bearer %s\n' "$(cat "${PHYLETIC_TOKEN_FILE:-curl.token}")" > "$work/header")

post() { # post PATH JSON: prints the answer; fails unless the server says yes
    curl --silent --show-error --fail-with-body --retry 5 --retry-connrefused --header "@$work/header" \
        --header 'content-type: application/json' --data "$2" "$server/v1/studies$1"
}

number() { # number NAME: the first number of that name in the JSON on standard input
    grep -o "\"$1\":[-0-9.e+]*" | head -n 1 | cut -d : -f 2
}

post "" '{
  "name": "'"$study"'",
  "space": {"lr": {"type": "float", "low": 0.001, "high": 0.5, "log": true}},
  "metrics": [{"name": "score", "mode": "max"}],
  "algorithm": {"type": "PBT", "population": 4, "interval": 5, "synchronous": true},
  "budget": {"steps": 20},
  "seed": 0
}' > "$work/study.json"

while :; do
    # the same worker always gets the trial that it holds already, so every call may be said again
    post "/$study/ask" '{"worker": "curl", "wait_seconds": 20}' > "$work/answer.json"
    case $(cat "$work/answer.json") in
        '{"type":"Finished"'*) break ;;
        '{"type":"Wait"'*) continue ;;
    esac
    trial=$(number number < "$work/answer.json")
    parent=$(number parent < "$work/answer.json")
    steps=$(number steps < "$work/answer.json")
    lr=$(number lr < "$work/answer.json")
    lease=$(grep -o '"lease":{[^}]*}' "$work/answer.json" | head -n 1)

    if [ -n "$parent" ]; then model=$(cat "$work/$parent.txt"); else model=0; fi
    model=$(awk -v x="$model" -v lr="$lr" -v n="$steps" 'BEGIN { for (i = 0; i < n; i++) x += lr * (3 - x); print x }')
    printf '%s\n' "$model" > "$work/$trial.txt"
    score=$(awk -v x="$model" 'BEGIN { print -(3 - x) * (3 - x) }')

    post "/$study/tell" "{$lease, \"metrics\": {\"score\": $score}}" > "$work/told.json"
    echo "trial $trial: lr $lr, score $score"
done

curl --silent --fail --header "@$work/header" "$server/v1/studies/$study" > "$work/study.json"
echo "best score: $(number best_score < "$work/study.json")"
