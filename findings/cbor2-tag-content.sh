#!/usr/bin/env bash
# cbor2 6.3.0: the same value decodes to other types when a tag stands around it.
# An array is a list and a map is a dict, but inside any tag they are a tuple and a frozendict, at every depth, even where
# the tag is the outermost item and nothing has to be hashed. A check like `isinstance(content, list)` on a COSE message
# (tag 18) that held for 5.9.0 refuses every message. A `tag_hook` gets the content frozen already. Seen:
#   5.9.0: [b'', {}] and CBORTag(18, [b'', {}])
#   6.3.0: [b'', {}] and CBORTag(18, (b'', frozendict({})))
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
cd "$scratch"
types() {  # VERSION: prints the types of an array and a map, alone, inside a tag, and as a tag hook gets them
    "$scratch/venv/bin/pip" install --quiet --disable-pip-version-check "cbor2==$1"
    venv/bin/python - <<'END'
import cbor2


def names(value):
    return [type(value).__name__, *(type(one).__name__ for one in value if not isinstance(one, bytes))]


def hook(*arguments):
    (tag,) = (one for one in arguments if isinstance(one, cbor2.CBORTag))
    hooked.append(tag.value)
    return tag


message, hooked = [b"", {}], []
tagged = cbor2.dumps(cbor2.CBORTag(18, message))
cbor2.loads(tagged, tag_hook=hook)
print(names(cbor2.loads(cbor2.dumps(message))), names(cbor2.loads(tagged).value), names(hooked[0]))
END
}
five="$(types 5.9.0)" six="$(types 6.3.0)"
printf '5.9.0: %s\n6.3.0: %s\n' "$five" "$six"
[ "$five" = "['list', 'dict'] ['list', 'dict'] ['list', 'dict']" ]
[ "$six" = "['list', 'dict'] ['tuple', 'frozendict'] ['tuple', 'frozendict']" ]
