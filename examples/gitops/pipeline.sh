#!/bin/sh
# The check of a pull request: fails if an entry would be changed or refused, and shows what to write as a diff.
set -eu
serviceentry-guard review --output diff "$@"
