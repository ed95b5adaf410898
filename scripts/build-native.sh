#!/bin/sh
# Builds the native client of `kappa run` for each kind of machine, into src/cli/native/prebuilt/ or the directory given.
# The same source gives the same bytes with Debian 12's packages: gcc, gcc-aarch64-linux-gnu, musl-dev and musl-dev:arm64.
# Those of musl may also be unpacked below $MUSL_ROOT (dpkg -x) instead of installed.
set -eu
source=$(dirname -- "$0")/../src/cli/native
to=${1:-$source/prebuilt}

for target in x64:x86_64 arm64:aarch64; do
  machine=${target#*:}
  compiler=$machine-linux-gnu-gcc
  root=${MUSL_ROOT-}
  [ -e "$root/usr/lib/$machine-linux-musl/libc.a" ] || root=
  include=$root/usr/include/$machine-linux-musl
  library=$root/usr/lib/$machine-linux-musl
  if ! command -v "$compiler" >/dev/null || ! [ -e "$library/libc.a" ]; then
    echo "build-native: $compiler and musl for $machine are needed; see the head of this script" >&2
    exit 1
  fi
  own=$("$compiler" -print-file-name=include)
  # Nothing that depends on where or when it was built: no paths, no build id, no notes of the compiler.
  "$compiler" -std=gnu11 -Os -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-format-truncation \
    -fno-asynchronous-unwind-tables -fno-ident -ffunction-sections -fdata-sections -fno-pie \
    -nostdinc -isystem "$include" -isystem "$own" \
    -nostdlib -static -no-pie -s -Wl,--build-id=none,--gc-sections,-z,noseparate-code,-z,norelro,-z,noexecstack \
    -o "$to/kappa-client-linux-${target%:*}" "$library/crt1.o" "$library/crti.o" \
    "$source/client.c" "$source/json.c" "$source/signals.c" "$source/here.c" "$source/there.c" \
    -L"$library" -lc -lgcc "$library/crtn.o"
  "$machine-linux-gnu-objcopy" --remove-section=.comment "$to/kappa-client-linux-${target%:*}"
done
