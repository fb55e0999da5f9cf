#!/bin/sh
# Numba refuses a cache directory that it cannot write to, even only to read from it. So the one that was compiled into
# the image is copied to where this container may write: a few megabytes, some milliseconds, instead of compiling anew.
set -eu
if [ ! -d "$NUMBA_CACHE_DIR" ]; then
    cp -R /opt/tidegate/numba-cache "$NUMBA_CACHE_DIR"
fi
exec tidegate "$@"
