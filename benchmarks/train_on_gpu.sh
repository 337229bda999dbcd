#!/usr/bin/env bash
# Train on another machine, with a GPU and no network, from one folder that holds all it needs; bring model and curves back.
#
# usage: benchmarks/train_on_gpu.sh pack MANIFEST BUNDLE      code at HEAD, wheels (without torch) and sounds into BUNDLE
#        benchmarks/train_on_gpu.sh train BUNDLE OUT [aasp pretrain's options]      there: set up offline, train, keep OUT
#        benchmarks/train_on_gpu.sh at HOST MANIFEST OUT [options]     all of it: pack, copy by ssh, train, copy OUT back
#
# MANIFEST is a CSV with a column `path`, relative to itself. The machine needs Linux, Python 3.11 or later and a torch;
# PYTHON names its interpreter. RECIPE (aasp_tiny) and MINUTES (10) can be set: at MINUTES the run is told to stop, saves,
# and continues exactly with the same line. Not yet measured on a GPU; pack and train were tried on a processor, `at` was not.
set -euo pipefail
PYTHON=${PYTHON:-python3} RECIPE=${RECIPE:-aasp_tiny} MINUTES=${MINUTES:-10}

fail() { echo "$*" >&2; exit 1; }

pack() {
  local manifest=$1 bundle=$2 root
  [[ -f $manifest ]] || fail "no such manifest: $manifest; give a CSV with a column path"
  [[ ! -e $bundle ]] || fail "output exists: $bundle; remove it or name another"
  root=$(git -C "$(dirname "${BASH_SOURCE[0]}")" rev-parse --show-toplevel)
  mkdir -p "$bundle.part/wheels" "$bundle.part/sounds"
  git -C "$root" archive --prefix=code/ HEAD | tar -x -C "$bundle.part"
  git -C "$root" rev-parse HEAD > "$bundle.part/commit"
  # What torch brings is left out: the machine there has a torch of its own, built for its GPU.
  "$PYTHON" -m pip wheel -q --wheel-dir "$bundle.part/wheels" -c "$root/constraints.txt" "$bundle.part/code"
  rm -f "$bundle.part"/wheels/{torch,triton,nvidia_,cuda_}*.whl
  "$PYTHON" - "$manifest" "$bundle.part/sounds" <<'PY'
import csv, pathlib, shutil, sys
manifest, out = map(pathlib.Path, sys.argv[1:])
with manifest.open(newline="", encoding="utf-8") as file:
    rows = list(csv.DictReader(file))
if not rows or "path" not in rows[0]:
    sys.exit(f"{manifest}: no rows with a column path; give one a sound")
for row in rows:
    source, target = manifest.parent / row["path"], out / row["path"]
    if target.resolve() == source.resolve() or not target.resolve().is_relative_to(out.resolve()):
        sys.exit(f"{manifest}: {row['path']} is not below the manifest's folder; make paths relative to it")
    if not source.is_file():
        sys.exit(f"{manifest}: no such file: {source}; scan the folder again")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
with (out / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)
PY
  mv "$bundle.part" "$bundle"
  echo "$bundle: $(du -sh "$bundle" | cut -f1)"
}

train() {
  local bundle=$1 out=$2 status=0
  shift 2
  [[ -f $bundle/sounds/manifest.csv ]] || fail "no such bundle: $bundle; make one with pack"
  if [[ ! -d $bundle/site ]]; then
    "$PYTHON" -m pip install -q --no-index --no-deps --target "$bundle/site.part" "$bundle"/wheels/*.whl
    mv "$bundle/site.part" "$bundle/site"
  fi
  mkdir -p "$out"
  { cat "$bundle/commit"; nvidia-smi -L 2>/dev/null || echo 'no GPU'; } > "$out.machine"
  PYTHONPATH=$bundle/site timeout --signal=TERM $((60 * MINUTES)) "$PYTHON" -m aasp pretrain "$RECIPE" \
    --data "$bundle/sounds/manifest.csv" --out "$out" "$@" || status=$?
  case $status in
    0) echo "$out: trained" ;;
    75 | 124) echo "$out: saved after $MINUTES minutes; the same line continues" ;;
    *) exit "$status" ;;
  esac
}

at() {
  local host=$1 manifest=$2 out=$3 work name
  shift 3
  work=$(mktemp -d) name=aasp-$(git rev-parse --short HEAD)
  trap 'rm -rf "$work"' EXIT
  pack "$manifest" "$work/$name"
  tar -C "$work" -cf - "$name" | ssh "$host" "tar -xf -"
  ssh "$host" "PYTHON=$(printf %q "$PYTHON") RECIPE=$(printf %q "$RECIPE") MINUTES=$MINUTES" \
    "bash $name/code/benchmarks/train_on_gpu.sh train $name $name-run $(printf '%q ' "$@")"
  mkdir -p "$out"
  ssh "$host" "tar -C $name-run -cf - ." | tar -C "$out" -xf -
  echo "$out: $(ls "$out" | tr '\n' ' ')"
}

case ${1:-} in
  pack) [[ $# == 3 ]] || fail "usage: $0 pack MANIFEST BUNDLE"; pack "$2" "$3" ;;
  train) [[ $# -ge 3 ]] || fail "usage: $0 train BUNDLE OUT [options]"; train "${@:2}" ;;
  at) [[ $# -ge 4 ]] || fail "usage: $0 at HOST MANIFEST OUT [options]"; at "${@:2}" ;;
  *) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
