#!/usr/bin/env bash
# shamir-mnemonic 0.3.0 (SLIP-39): three shares of a 2-of-3 secret are refused, and a wrong passphrase is not.
# More shares than the threshold are an error, so whoever collects all the papers that turn up has to leave some out. And
# no share tells whether the passphrase is right: each one gives a secret of the right length. Keep something to compare
# with, such as a digest of the public key. Seen:
#   2 of 3: the secret
#   3 of 3: MnemonicError: Wrong number of mnemonics. Expected 2 mnemonics ..., but 3 were provided.
#   2 of 3, wrong passphrase: another 32 bytes, no error
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check shamir-mnemonic==0.3.0
cd "$scratch"
venv/bin/python - <<'END'
from shamir_mnemonic import MnemonicError, combine_mnemonics, generate_mnemonics

secret = bytes(range(32))
(shares,) = generate_mnemonics(1, [(2, 3)], secret, passphrase=b"right")
assert combine_mnemonics(shares[:2], passphrase=b"right") == secret
assert combine_mnemonics(shares[1:], passphrase=b"right") == secret
print("2 of 3: the secret")
try:
    combine_mnemonics(shares, passphrase=b"right")
except MnemonicError as error:
    print(f"3 of 3: {error}")
    assert "Expected 2 mnemonics" in str(error) and "3 were provided" in str(error)
else:
    raise AssertionError("three shares of a 2-of-3 secret are taken")
other = combine_mnemonics(shares[:2], passphrase=b"wrong")
assert len(other) == 32 and other != secret
print(f"2 of 3, wrong passphrase: another {len(other)} bytes, no error")
END
