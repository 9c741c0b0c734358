#!/bin/sh
# Runs in the container: takes over from /built what was built outside of it, unless something is built already or what is
# there is more than this many KiB, as a folder that holds old builds too, or half of the room.
set -e
into="$CARGO_TARGET_DIR/debug"
if [ -e "$into" ]; then
  echo "the volume has a build already"
  exit
fi
cd /built
for folder in .fingerprint build deps examples; do
  [ -d "$folder" ] && set -- "$@" "$folder"
done
limit=$1
shift
size=$(du -skc "$@" | tail -n 1 | cut -f 1)
free=$(df -Pk "$CARGO_TARGET_DIR" | tail -n 1 | awk '{ print $4 }')
if [ "$size" -gt "$limit" ] || [ "$size" -gt $((free / 2)) ]; then
  echo "not taken over: a build of $size KiB"
  exit
fi
# Half of a build is none.
mkdir -p "$into.part"
if ! cp -a "$@" "$into.part"; then
  rm -rf "$into.part"
  exit 1
fi
mv "$into.part" "$into"
echo "taken over: a build of $size KiB"
