#!/bin/busybox sh
# The first and only process of the emulated machine: mounts the disk, does what the kernel's command line says, and turns off.
/bin/busybox mkdir -p /proc /dev /sbin
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox --install -s /bin
export PATH=/bin
# Which needs which differs from kernel to kernel: those that were too early come again.
for round in 1 2 3; do
  for module in /modules/*.ko; do
    insmod "$module" 2>/dev/null
  done
done
for word in $(cat /proc/cmdline); do
  case $word in disk_cache.*) export "${word#disk_cache.}" ;; esac
done
mkdir -p "$folder"
mount -t ext4 /dev/vda "$folder" || { echo "machine: no disk"; poweroff -f; }
echo "machine: Linux $(uname -r)"
case $phase in
  tests)
    export DISK_CACHE_REQUIRE_IO_URING=1
    for test in /tests/*; do
      "$test" --color never
      echo "machine: $(basename "$test") ended with $?"
    done
    ;;
  fill) /survivor fill "$folder/cache" ;;
  check) /survivor check "$folder/cache" "$count" ;;
esac
echo "machine: done"
sync
poweroff -f
