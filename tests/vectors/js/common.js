// What the messages share: kinds of values of docs/FORMAT.md, and COSE_Sign1.

import { check, decode, same } from "./cbor.js";
import { checkSignature, EK_BYTES, keyId, unhex } from "./crypto.js";
import { bytes, cbor, int, map, oneOf, row, tagged, text } from "./kinds.js";

export const MIB = 1 << 20;
export const READ = "application/plateseal+cbor";
export const GRAVE = "application/plateseal-tombstone+cbor";
export const SEQ = int(0, Number.MAX_SAFE_INTEGER);
export const TIME = int(0, 253402300799999);
export const SHARE = int(0, 1000);
export const PX = int(0, 16384);
export const NAME = text(64);
export const BYTES = bytes(0, 8 * MIB);
export const [B8, B12, B16, B32, B48, B64] = [8, 12, 16, 32, 48, 64].map((n) => bytes(n));
export const ALG = oneOf("algorithm", ...EK_BYTES.keys());
export const ZEROS = new Uint8Array(32);
export const isZero = (digest) => same(digest, ZEROS);

/** Check a COSE_Sign1 by one of these keys (hex); return its header, the header's bytes, and its payload. */
export async function sign1(data, most, keys, kinds, more = []) {
  check(data.length <= most, "size");
  const headerKind = map(new Map([
    [1, oneOf("algorithm", -8)], [3, oneOf("content-type", ...Object.keys(kinds))], [4, B32], ...more,
  ]));
  const whole = tagged(18, row(cbor(headerKind), map(new Map()), bytes(0, most), B64));
  const [[header, protectedBytes], , payload, signature] = whole(decode(data));
  const known = keys.map(unhex).find((key) => same(keyId(-8, key), header.get(4)));
  check(known, "signer");
  await checkSignature(known, signature, ["Signature1", protectedBytes, new Uint8Array(), payload], "signature");
  return [header, protectedBytes, kinds[header.get(3)](decode(payload))];
}
