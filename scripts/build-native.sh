#!/bin/sh
# Builds the native programs for each kind of machine, the client of `kappa run`, what jobs begin with and what serves home's
# files beside Node, each into the prebuilt/ beside its source, or all into the directory given.
# The same source gives the same bytes with Debian 12's packages: gcc, gcc-aarch64-linux-gnu, musl-dev and musl-dev:arm64.
# Those of musl may also be unpacked below $MUSL_ROOT (dpkg -x) instead of installed.
set -eu
source=$(dirname -- "$0")/../src
to=${1-}

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
  build() {
    program=$1-linux-${target%:*}
    shift
    "$compiler" -std=gnu11 -Os -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-format-truncation \
      -fno-asynchronous-unwind-tables -fno-ident -ffunction-sections -fdata-sections -fno-pie \
      -nostdinc -isystem "$include" -isystem "$own" \
      -nostdlib -static -no-pie -s -Wl,--build-id=none,--gc-sections,-z,noseparate-code,-z,norelro,-z,noexecstack \
      -o "$program" "$library/crt1.o" "$library/crti.o" "$@" -L"$library" -lc -lgcc "$library/crtn.o"
    "$machine-linux-gnu-objcopy" --remove-section=.comment "$program"
  }
  build "${to:-$source/cli/native/prebuilt}/kappa-client" "$source/cli/native/client.c" "$source/cli/native/json.c" \
    "$source/cli/native/signals.c" "$source/cli/native/terminal.c" "$source/cli/native/here.c" \
    "$source/cli/native/there.c"
  build "${to:-$source/execution/native/prebuilt}/kappa-terminal" "$source/execution/native/terminal.c"
  build "${to:-$source/execution/native/prebuilt}/kappa-enter" "$source/execution/native/enter.c"
  build "${to:-$source/files/native/prebuilt}/kappa-files" "$source/files/native/files.c"
done
