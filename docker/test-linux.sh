#!/bin/sh
# Runs in the container: the whole suite (or what the arguments say), then what the caches under test reported of themselves,
# for `cargo xtask test-linux` to count.
# What an earlier run left goes. The tests' folder is only made by cargo when it builds.
rm -rf "$TMPDIR" "$DISK_CACHE_TEST_LOG" "$CARGO_TARGET_DIR"/tmp
mkdir -p "$TMPDIR" "$CARGO_TARGET_DIR"/tmp || exit 1
cargo test --locked --no-fail-fast "$@"
status=$?
echo "== log of the caches"
if [ -f "$DISK_CACHE_TEST_LOG" ]; then
  cat "$DISK_CACHE_TEST_LOG"
fi
exit $status
