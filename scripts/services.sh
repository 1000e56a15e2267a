#!/usr/bin/env bash
# Starts and stops the real Apache Kafka and Redis that the tests use (`make services`, `make services-stop`).
# Read ops/kafka/server.properties next; tests/conftest.py finds what runs here.
#
#   scripts/services.sh start    install what is absent, start both, wait until they answer
#   scripts/services.sh stop     stop what was started from this folder; the data stays
#   scripts/services.sh fresh    stop, throw the data away, start
#   scripts/services.sh status   exit status 0 when both answer
#
# Everything lives in var/services, which git ignores. Both listen on the loopback address only, on ports of their own,
# so a Redis or Kafka that the machine runs anyway is neither used nor touched.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly kafka_port=19092 redis_port=16379
readonly root="$PWD/var/services" deadline_s=60

say() { printf 'services: %s\n' "$*"; }
fail() { printf 'services: %s\n' "$*" >&2; exit 1; }
as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }

# --- is it there? ------------------------------------------------------------------------------------------------

# A metadata request (version 7, no topics), byte for byte. A broker that only listens does not answer it yet, and one
# that is still registering answers with no brokers: the fourth word of the reply is their number. No JVM: 10 ms.
# shellcheck disable=SC2016  # the inner shell expands these
kafka_answers() {
  local reply
  reply=$(timeout 2 bash -c '
    exec 3<>"/dev/tcp/127.0.0.1/$0" || exit 1
    printf "\0\0\0\x0f\0\x03\0\x07\0\0\0\x01\xff\xff\0\0\0\0\0" >&3
    head -c 16 <&3 | od -An -tx1 -v | tr -d " \n"' "$kafka_port" 2>/dev/null) || return 1
  [ "${#reply}" -eq 32 ] && [ "${reply:24:8}" != 00000000 ]
}

# Redis answers -LOADING while it reads its log: only PONG counts.
# shellcheck disable=SC2016
redis_answers() {
  timeout 2 bash -c '
    exec 3<>"/dev/tcp/127.0.0.1/$0" || exit 1
    printf "PING\r\n" >&3
    IFS= read -r reply <&3
    [ "$reply" = $'"'"'+PONG\r'"'"' ]' "$redis_port" 2>/dev/null
}

# The process id in the file, if that process is still ours: numbers are reused after a reboot.
our_pid() {
  local pid
  pid=$(cat "$root/$1/pid" 2>/dev/null) || return 1
  case "$(ps -p "$pid" -o args= 2>/dev/null)" in
    *"$root/$1"* | *"redis-server 127.0.0.1:$redis_port"*) echo "$pid" ;;
    *) return 1 ;;
  esac
}

# --- install -----------------------------------------------------------------------------------------------------

install_packages() {
  local absent=()
  command -v redis-server >/dev/null || absent+=(redis-server)
  [ -x /usr/bin/chromium ] || absent+=(chromium)
  command -v java >/dev/null || absent+=(default-jre-headless)
  [ -d "$root/kafka/libs" ] || command -v mvn >/dev/null || absent+=(maven)
  command -v npm >/dev/null || absent+=(nodejs npm)
  if command -v dpkg-query >/dev/null; then
    # Without it Chinese is drawn as empty boxes, and the browser tests measure boxes.
    [ -e /usr/share/doc/fonts-noto-cjk ] || absent+=(fonts-noto-cjk)
  fi
  [ ${#absent[@]} -eq 0 ] && return
  command -v apt-get >/dev/null ||
    fail "missing here: ${absent[*]}. This script installs Debian packages only: install them your way, then run it again."
  say "installing ${absent[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${absent[@]}" >"$root/apt.log" 2>&1 ||
    fail "apt-get install failed; the end of $root/apt.log says why: $(tail -n 3 "$root/apt.log")"
}

# The jars are there when the pom beside them is the project's: a new version in the pom fetches again.
install_kafka() {
  cmp -s ops/kafka/pom.xml "$root/kafka/libs/pom.xml" && return
  say "fetching Apache Kafka with Maven"
  rm -rf "$root/kafka/libs" "$root/kafka/libs.part"
  mvn -q -B -f ops/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory="$root/kafka/libs.part" >"$root/maven.log" 2>&1 ||
    fail "Maven could not fetch Kafka; the end of $root/maven.log says why: $(tail -n 3 "$root/maven.log")"
  cp ops/kafka/pom.xml "$root/kafka/libs.part/pom.xml"
  mv "$root/kafka/libs.part" "$root/kafka/libs"
}

# The reference verifier of webhook signatures for node, beside the Python one that pip brings.
install_verifier() {
  cmp -s ops/javascript/package.json "$root/javascript/package.json" && return
  say "fetching the JavaScript verifier with npm"
  rm -rf "$root/javascript"
  mkdir -p "$root/javascript.part"
  cp ops/javascript/package.json "$root/javascript.part/"
  npm install --prefix "$root/javascript.part" --silent --no-audit --no-fund --ignore-scripts >"$root/npm.log" 2>&1 ||
    fail "npm could not fetch it; the end of $root/npm.log says why: $(tail -n 3 "$root/npm.log")"
  mv "$root/javascript.part" "$root/javascript"
}

# --- start -------------------------------------------------------------------------------------------------------

# setsid: an interrupt typed at the terminal that ran `make services` is not meant for the broker.
launch_kafka() {
  local home="$root/kafka"
  if ! [ -e "$home/data/meta.properties" ]; then
    rm -rf "$home/data"
    (cd "$home" && java -XX:TieredStopAtLevel=1 -cp "$home/libs/*" kafka.tools.StorageTool format --standalone \
      -t "groundswell-tests-0001" -c server.properties >format.log 2>&1) ||
      fail "Kafka's data folder could not be made; $home/format.log says why: $(tail -n 3 "$home/format.log")"
  fi
  (cd "$home"; setsid nohup java -Xms256m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
    -cp "$home:$home/libs/*" kafka.Kafka server.properties >server.log 2>&1 </dev/null & echo $! >"$home/pid")
}

launch_redis() {
  local home="$root/redis"
  mkdir -p "$home/data"
  (setsid nohup redis-server --bind 127.0.0.1 --port "$redis_port" --dir "$home/data" --save '' --databases 256 \
    --appendonly yes --appendfsync everysec --maxmemory-policy noeviction >"$home/server.log" 2>&1 </dev/null & echo $! >"$home/pid")
}

# until_answers NAME: 0 once it answers, 1 when its process has ended or the deadline has passed.
until_answers() {
  local end=$((SECONDS + deadline_s))
  while [ "$SECONDS" -lt "$end" ]; do
    "${1}_answers" && return 0
    kill -0 "$(cat "$root/$1/pid")" 2>/dev/null || return 1
    sleep 0.1
  done
  return 1
}

# Data of an older run that was cut off in the wrong place must not stop the tests: one more try with an empty folder.
start_one() {
  local name=$1 address=$2 began=$SECONDS
  if "${name}_answers"; then
    say "$name already answers on $address"
    return
  fi
  stop_one "$name" >/dev/null
  "launch_$name"
  if ! until_answers "$name"; then
    say "$name did not start on its old data; throwing that away"
    stop_one "$name" >/dev/null
    rm -rf "$root/$name/data"
    "launch_$name"
    until_answers "$name" ||
      fail "$name does not answer on $address; the end of $root/$name/server.log says why: $(tail -n 3 "$root/$name/server.log")"
  fi
  say "$name answers on $address (process $(our_pid "$name"), $((SECONDS - began)) s, log $root/$name/server.log)"
}

stop_one() {
  local name=$1 pid waited=0
  if ! pid=$(our_pid "$name"); then
    rm -f "$root/$name/pid"
    if "${name}_answers"; then say "$name was not started from here: left alone"; else say "$name is not running"; fi
    return
  fi
  kill -TERM "$pid"
  while kill -0 "$pid" 2>/dev/null; do
    [ "$waited" -eq 150 ] && kill -KILL "$pid" 2>/dev/null
    waited=$((waited + 1))
    sleep 0.1
  done
  rm -f "$root/$name/pid"
  say "$name stopped"
}

start() {
  mkdir -p "$root/kafka" "$root/redis"
  # Two terminals, or a test run and a person, may ask at once: the second waits and finds everything there.
  exec 9>"$root/lock"
  if command -v flock >/dev/null; then flock -w 600 9 || fail "another start has held $root/lock for ten minutes"; fi
  install_packages
  kafka_answers || install_kafka
  install_verifier
  cp ops/kafka/server.properties ops/kafka/simplelogger.properties "$root/kafka/"
  start_one redis "127.0.0.1:$redis_port" 9>&-
  start_one kafka "127.0.0.1:$kafka_port" 9>&-
}

case "${1:-}" in
  start) start ;;
  stop) stop_one kafka; stop_one redis ;;
  fresh) stop_one kafka; stop_one redis; rm -rf "$root/kafka/data" "$root/redis/data"; start ;;
  status)
    redis_answers || fail "no Redis on 127.0.0.1:$redis_port: run 'make services'"
    kafka_answers || fail "no Kafka on 127.0.0.1:$kafka_port: run 'make services'"
    say "kafka and redis answer" ;;
  *) fail "say start, stop, fresh or status" ;;
esac
