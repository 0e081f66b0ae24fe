# Sourced by the scripts beside it: where things that are not in the checkout live, and the PATH that finds them.
#   OUTRIDER_CACHE   kept between runs and shared by all checkouts of this user
#   OUTRIDER_VENV    Python packages and the Go toolchain that tools/setup installed
if [ -z "${HOME:-}" ]; then
  HOME=$(getent passwd "$(id -u)" | cut -d: -f6)
  export HOME
fi
export OUTRIDER_CACHE="${OUTRIDER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/outrider}"
export OUTRIDER_VENV="$OUTRIDER_CACHE/venv"
case ":$PATH:" in
  *":$OUTRIDER_VENV/bin:"*) ;;
  *) export PATH="$PATH:/usr/sbin:/sbin:$OUTRIDER_VENV/bin" ;;
esac
