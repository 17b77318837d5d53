#!/usr/bin/env bash
# Makes Chromium available for the pages that agents act in: an installed one, or else Debian's package when run as
# root. Without either: exit code 1 and one line of advice. Everything except the online steps works without Chromium.
set -euo pipefail

found() { command -v chromium || command -v chromium-browser || command -v google-chrome; }

if found >/dev/null; then
  exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing chromium (apt-get)"
  log="$(mktemp)"
  export DEBIAN_FRONTEND=noninteractive
  if apt-get update -qq >"$log" 2>&1 && apt-get install -y -qq --no-install-recommends chromium >>"$log" 2>&1
  then
    rm -f "$log"
    found >/dev/null && exit 0
  fi
  echo "apt-get could not install chromium; its output is in $log" >&2
fi
echo "No Chromium: the online steps are skipped. Install one (on Debian: sudo apt-get install chromium) and run this again." >&2
exit 1
