#!/bin/sh
# Answers git's questions for a user name and a password, once each, from the pipe that it inherited.
#
# GIT_ASKPASS names this file; MIRRORING_ASKPASS_FD is the number of the pipe, in which the same three lines stand
# several times: where to (scheme://host), user name, password. Nothing secret is in an argument or in the environment,
# and a question from anywhere else than the one upstream gets no answer.
set -eu

{
    IFS= read -r upstream
    IFS= read -r username
    IFS= read -r password
} <"/dev/fd/$MIRRORING_ASKPASS_FD"

case $1 in
"Username for '$upstream': ") printf '%s\n' "$username" ;;
"Password for '${upstream%%://*}://"*"@${upstream#*://}': ") printf '%s\n' "$password" ;;
*) exit 1 ;;
esac
