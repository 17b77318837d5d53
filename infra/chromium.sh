#!/usr/bin/env bash
# Makes Chromium available for the pages that agents act in: an installed one, or else Debian's package when run as
# root. Without either: exit code 1 and one line of advice. Everything except the online steps works without Chromium.
# Playwright, which drives it, needs a library besides that no other package brings (libatomic1).
set -euo pipefail

browser() { command -v chromium || command -v chromium-browser || command -v google-chrome; }
library() { ! command -v apt-get || PATH="$PATH:/sbin:/usr/sbin" ldconfig -p | grep -F libatomic.so.1; }
found() { browser && library; }

if found >/dev/null; then
  exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing chromium (apt-get)"
  log="$(mktemp)"
  export DEBIAN_FRONTEND=noninteractive
  wanted=(libatomic1)
  browser >/dev/null || wanted+=(chromium)
  if apt-get update -qq >"$log" 2>&1 && apt-get install -y -qq --no-install-recommends "${wanted[@]}" >>"$log" 2>&1
  then
    rm -f "$log"
    found >/dev/null && exit 0
  fi
  echo "apt-get could not install chromium; its output is in $log" >&2
fi
echo "No Chromium: the online steps are skipped. Install one (on Debian: sudo apt-get install chromium libatomic1) and run this again." >&2
exit 1
