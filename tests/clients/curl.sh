#!/bin/sh
# The curl command in a shell script, its answers taken apart with sed and grep.
# Styles: data = everything encoded by hand, urlencode = --data-urlencode, multipart = -F.
set -eu

style=$1

call() {
  # Each argument is a name=value.
  set -- "$@" "app_id=$APP_ID" "api_key=$API_KEY" "api_password=$API_PASSWORD"
  for pair in "$@"; do
    case $style in
      data) set -- "$@" -d "$(encode "$pair")" ;;
      urlencode) set -- "$@" --data-urlencode "$pair" ;;
      multipart) set -- "$@" -F "$pair" ;;
    esac
    shift
  done
  curl --silent --show-error --fail --globoff "$@" "$API_URL"
}

encode() {
  printf %s "$1" | sed 's/%/%25/g; s/&/%26/g; s/+/%2B/g; s/ /+/g'
}

messages() {
  printf %s "$1" | grep -o '"message":"[^"]*"' | cut -d: -f2 | paste -sd, -
}

account=$(call "actions[0][cmd]=retrieve_account_tags")
created=$(call "lead[email]=$EMAIL" "lead[first_name]=$FIRST_NAME" \
  "actions[0][cmd]=create_lead" \
  "actions[1][cmd]=assign_tag" "actions[1][tag_name]=Trial user" \
  "actions[2][cmd]=subscribe_lead_to_list" "actions[2][list_name]=Newsletter")
id=$(printf %s "$created" | sed -n 's/.*"create_lead":.*"lead_details":{"id":"\([0-9]*\)"}.*/\1/p')
tagged=$(call "lead[id]=$id" \
  "actions[0][cmd]=assign_tag" "actions[0][tag_name]=Customer" \
  "actions[1][cmd]=assign_tag" "actions[1][tag_name]=Trial user")
found=$(call "get_lead[email]=$EMAIL")
unknown=$(call "get_lead[email]=nobody@shop.example")

case $unknown in
  *'"message":"No lead found"'*) not_found=true ;;
  *) not_found=false ;;
esac

printf '{"account_tags": %s, "id": "%s", "created": [%s], "tagged": [%s], "first_name": %s, "tags": [%s], "unknown": %s}' \
  "$(printf %s "$account" | sed 's/.*"account_tags":\(\[[^]]*\]\).*/\1/')" \
  "$id" \
  "$(messages "$created")" \
  "$(messages "$tagged")" \
  "$(printf %s "$found" | grep -o '"first_name":"[^"]*"' | cut -d: -f2)" \
  "$(printf %s "$found" | grep -o '"tag_name":"[^"]*"' | cut -d: -f2 | paste -sd, -)" \
  "$not_found"
