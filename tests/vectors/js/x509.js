// Certificate requests (PKCS#10, RFC 2986), as far as docs/FORMAT.md looks into them, and PEM (RFC 7468).

import crypto from "node:crypto";
import { check, same } from "./cbor.js";
import { hex } from "./crypto.js";

const COMMON_NAME = "550403";
const EC_P256 = "301306072a8648ce3d020106082a8648ce3d030107";
const HASHES = { "2a8648ce3d040302": "sha256", "2a8648ce3d040303": "sha384", "2a8648ce3d040304": "sha512" };
const [SEQUENCE, SET, BIT_STRING, OBJECT_ID] = [0x30, 0x31, 0x03, 0x06];

/** Return the text of bytes that are all ASCII. */
export function ascii(data) {
  check(data.every((byte) => byte < 128), "encoding");
  return Buffer.from(data).toString("latin1");
}

/** Return the bytes of the first block with a label; throws where there is none. */
export function fromPem(text, label) {
  const found = new RegExp(`-----BEGIN ${label}-----\\n([A-Za-z0-9+/=\\n]+)-----END ${label}-----`).exec(text);
  if (!found || [...text].some((letter) => letter > "\x7f")) throw new Error("no PEM");
  return new Uint8Array(Buffer.from(found[1], "base64"));
}

/** Decode DER elements that stand behind each other: tag, content, and all bytes of each. */
function elements(data) {
  const found = [];
  for (let at = 0; at < data.length; ) {
    check(at + 2 <= data.length, "request");
    let [length, start] = [data[at + 1], at + 2];
    if (length >= 128) {
      const width = length & 127;
      check(width > 0 && width < 4 && start + width <= data.length, "request");
      length = data.subarray(start, start + width).reduce((sum, byte) => sum * 256 + byte, 0);
      start += width;
      check(length >= 128 && length >= 256 ** (width - 1), "request");
    }
    const end = start + length;
    check(end <= data.length, "request");
    found.push({ tag: data[at], content: data.subarray(start, end), all: data.subarray(at, end) });
    at = end;
  }
  return found;
}

/** Return the elements in one whose tag must be this one. */
function inside(element, tag, least = 0, most = 1000) {
  check(element?.tag === tag, "request");
  const found = elements(element.content);
  check(least <= found.length && found.length <= most, "request");
  return found;
}

/** Check a request for an ECDSA P-256 key and this name, which the key has signed; return the key's point. */
export function checkRequest(der, name) {
  const whole = elements(der);
  check(whole.length === 1, "request");
  const [info, algorithm, signature] = inside(whole[0], SEQUENCE, 3, 3);
  const [version, subject, spki, attributes] = inside(info, SEQUENCE, 4, 4);
  check(hex(version.all) === "020100" && attributes.tag === 0xa0, "request");
  const [kind, point] = inside(spki, SEQUENCE, 2, 2);
  check(hex(kind.all) === EC_P256 && point.tag === BIT_STRING && point.content.length === 66, "request");
  const names = inside(subject, SEQUENCE).flatMap((set) => inside(set, SET, 1));
  check(names.length === 1, "request");
  const [id, value] = inside(names[0], SEQUENCE, 2, 2);
  check(id.tag === OBJECT_ID && hex(id.content) === COMMON_NAME, "request");
  check(same(value.content, Buffer.from(name)), "request");
  const hash = HASHES[hex(inside(algorithm, SEQUENCE, 1)[0].content)];
  check(hash && signature.tag === BIT_STRING && signature.content[0] === 0, "request");
  const key = crypto.createPublicKey({ key: Buffer.from(spki.all), format: "der", type: "spki" });
  check(crypto.verify(hash, info.all, key, signature.content.subarray(1)), "proof");
  return point.content.subarray(1);
}
