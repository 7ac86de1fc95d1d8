// The messages of units, receivers and the owner's files; reader.js has those that a read goes through.

import { X509Certificate } from "node:crypto";
import { parse as parseToml } from "smol-toml";
import { check, concat, decode, encode, same, sequence } from "./cbor.js";
import { B12, B16, B32, B64, BYTES, MIB, NAME, SEQ, sign1, TIME, ZEROS } from "./common.js";
import {
  blake2b, checkSignature, checkSigner, coseKey, derivePublic, EK_BYTES, hex, HYBRID, keyId, openContent, refusing,
  scrypt, sha256, unhex,
} from "./crypto.js";
import { readJson } from "./json.js";
import {
  all, base64, byField, byLength, bytes, byVersion, cbor, fields, int, line, map, match, moment, oneOf, orNull, row, tagged, text,
} from "./kinds.js";
import { ascii, checkRequest, fromPem } from "./x509.js";

const DEVICE = match(/^[a-z0-9][a-z0-9._-]{0,63}$/);
const ROTATION = map(fields({ v: 1, device: DEVICE, key: B32, csr: bytes(1, 2048), proof: B64 }));
const LOCK = map(new Map([
  [1, oneOf("algorithm", 3)], [3, oneOf("content-type", "application/plateseal-key+cbor")],
  ["ps", map(fields({ v: 1, use: oneOf("value", "owner", "epoch", "case"), kid: B32 }))],
  ["scrypt", row(B16, SEQ, SEQ, SEQ)],
]));
const ENTRY = map(
  fields({
    v: 1, seq: SEQ, prev: B32, at: TIME, who: NAME, case: NAME, reason: text(400), count: SEQ,
    action: oneOf(
      "value", "keys", "open", "search", "hold", "destroy", "export", "mend", "lost", "close", "passphrase", "copy",
    ),
  }),
  fields({
    serial: SEQ, ids: all(B32, 0, 4096), by: all(NAME, 0, 8), camera: NAME, from: TIME, until: TIME, before: TIME,
    head: oneOf("value", true),
  }),
);

const RENEWAL = map(fields({ v: 1, device: NAME, certificate: bytes(1, 4096) }));
const PROBE = map(fields({ v: 2, at: TIME, nonce: B16 }));
const PROBE_ANSWER = map(fields({ v: 2, probe: B32, at: TIME, log: SEQ }));
const HEAD = map(fields({ v: 1, seq: SEQ, digest: B32 }));
const INTEGER = int(-Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
const NUMBER = orNull(INTEGER);
const BOOL = oneOf("value", true, false);
const CAMERA = [line(64), orNull(oneOf("value", true, false, "refused")), SEQ];
const CAMERA_CLOCK = row(INTEGER, NUMBER, SEQ, BOOL);
const HEALTH = map(fields({
  v: 1, at: TIME, up: row(BOOL, BOOL), cameras: all(byLength({ 3: row(...CAMERA), 4: row(...CAMERA, CAMERA_CLOCK) }), 0, 16),
  backlog: row(SEQ, SEQ, SEQ, orNull(SEQ), SEQ), reads: row(orNull(SEQ), SEQ, SEQ, SEQ, SEQ), disk: row(SEQ, SEQ),
  temp: NUMBER, clock: oneOf("value", "synchronized", "unsynchronized", "recorded", "behind"), ends: row(NUMBER, NUMBER),
  versions: all(row(line(64), line(100)), 0, 16), configs: all(row(line(64), SEQ, orNull(line(300))), 0, 2),
  error: orNull(row(TIME, line(300))),
}));
const enrolmentOf = (v) => map(fields({
  v, device: DEVICE, key_id: text(MIB), public_key: base64(32), csr: text(MIB), proof: base64(64),
}));
const ENROLMENT = byVersion(enrolmentOf(1), enrolmentOf(2));
const HEX = match(/^[0-9a-f]{64}$/);
const EVENT = { event: text(8), at: orNull(moment), log: orNull(SEQ) };
const EVENTS = byField("event", {
  enrolled: map(fields(EVENT)), renewed: map(fields(EVENT)),
  rotated: map(fields({ ...EVENT, to: HEX, certificates_until: moment })),
  revoked: map(fields({ ...EVENT, after: SEQ, reason: text(200, 1) })),
});
const KNOWN = { name: DEVICE, key_id: text(MIB), public_key: base64(32), certificate_sha256: all(HEX, 1, 2) };
const RECORD = byVersion(
  map(fields({ v: 1, ...KNOWN, enrolled_at: moment }), fields({ rotated_to: HEX, certificates_until: moment })),
  map(fields({ v: 2, ...KNOWN, history: all(EVENTS, 1, 64), receiver: HEX, signature: base64(64) })),
);
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const unitOf = (context, kid) => context.enrolled.find((unit) => same(keyId(-8, unhex(unit.key)), kid));

async function rotation(data, context) {
  const keys = context.enrolled.map((unit) => unit.key);
  const [header, , says] = await sign1(data, 4096, keys, { "application/plateseal-rotation+cbor": ROTATION });
  const [device, key, csr, proof] = ["device", "key", "csr", "proof"].map((name) => says.get(name));
  checkSigner(key);
  await checkSignature(key, proof, ["plateseal rotation 1", header.get(4), device, key, csr], "proof");
  const follows = keyId(-8, key);
  check(!same(follows, header.get(4)), "same-key");
  checkRequest(csr, device);
  const [old, known] = [unitOf(context, header.get(4)), unitOf(context, follows) ?? { name: device }];
  check(old.name === device && known.name === device, "mismatch");
  check([undefined, hex(follows)].includes(old.ended) && known.ended === undefined, "ended");
  return says;
}

async function renewal(data, context) {
  const keys = context.enrolled.map((unit) => unit.key);
  const [header, , says] = await sign1(data, 8192, keys, { "application/plateseal-renewal+cbor": RENEWAL });
  const unit = unitOf(context, header.get(4));
  check(unit.name === says.get("device"), "mismatch");
  check(unit.ended === undefined, "ended");
  check(unit.certificates.includes(hex(sha256(says.get("certificate")))), "mismatch");
  return says;
}

async function renewalAnswer(data, context) {
  check(data.length <= 65536, "size");
  const old = new X509Certificate(unhex(context.certificate));
  const fresh = await refusing("encoding", () => new X509Certificate(fromPem(ascii(data), "CERTIFICATE")));
  check(fresh.publicKey.equals(old.publicKey), "mismatch");
  check(Date.parse(fresh.validTo) > Date.parse(old.validTo), "rollback");
  return { certificate: new Uint8Array(fresh.raw) };
}

async function probe(data, context) {
  const keys = context.enrolled.map((unit) => unit.key);
  const [header, , says] = await sign1(data, 512, keys, { "application/plateseal-probe+cbor": PROBE });
  const unit = unitOf(context, header.get(4));
  check(unit.name === context.sender, "mismatch");
  check(unit.ended === undefined, "ended");
  return says;
}

async function probeAnswer(data, context) {
  const kinds = { "application/plateseal-probe-answer+cbor": PROBE_ANSWER };
  const [, , says] = await sign1(data, 512, context.receivers, kinds);
  check(same(says.get("probe"), sha256(unhex(context.probe))), "mismatch");
  return says;
}

function health(data) {
  check(data.length <= 16384, "size");
  return HEALTH(decode(data));
}

async function enrolment(data) {
  check(data.length <= 16384, "size");
  const asked = ENROLMENT(readJson(data));
  const [version, device, publicKey] = ["v", "device", "public_key"].map((name) => asked.get(name));
  checkSigner(publicKey);
  const kid = keyId(-8, publicKey);
  check(asked.get("key_id") === hex(kid), "key-id");
  const der = await refusing("request", () => fromPem(asked.get("csr"), "CERTIFICATE REQUEST"));
  const point = checkRequest(der, device);
  const proven = version === 1 ? der : ["plateseal enrolment 2", kid, device, der];
  await checkSignature(publicKey, asked.get("proof"), proven, "proof");
  return { device, key_id: kid, public_key: publicKey, tls_key: point };
}

async function deviceRecord(data, context) {
  check(data.length <= MIB / 4, "size");
  const value = readJson(data);
  const record = RECORD(value);
  check(value.get("key_id") === hex(keyId(-8, record.get("public_key"))), "key-id");
  let history = value.get("history");
  if (value.get("v") === 2) {
    const known = context.receivers.map(unhex).find((key) => hex(keyId(-8, key)) === value.get("receiver"));
    check(known, "signer");
    const signed = new Map([...value].filter(([name]) => name !== "signature"));
    await checkSignature(known, record.get("signature"), ["plateseal device record 2", signed], "signature");
  } else {
    check(value.has("rotated_to") === value.has("certificates_until"), "field");
    history = [fields({ event: "enrolled", at: value.get("enrolled_at"), log: null })];
    if (value.has("rotated_to")) {
      const [to, until] = [value.get("rotated_to"), value.get("certificates_until")];
      history.push(fields({ event: "rotated", at: null, log: null, to, certificates_until: until }));
    }
  }
  check(value.get("key_id") === context.kid, "use");
  const ends = history.filter((event) => event.has("after")).map((event) => event.get("after"));
  const next = history.find((event) => event.get("event") === "rotated");
  const same = ["name", "key_id", "public_key", "certificate_sha256"].map((name) => [name, value.get(name)]);
  return {
    ...Object.fromEntries(same), history, after: ends.length ? Math.min(...ends) : null,
    followed_by: next?.get("to") ?? null, certificates_until: next?.get("certificates_until") ?? null,
  };
}

async function bundle(data, context) {
  check(data.length <= MIB / 4, "size");
  const lines = [];
  let rest = data;
  for (let end; lines.length < 4; rest = rest.subarray(end + 1)) {
    end = rest.indexOf(10);
    check(end >= 0, "encoding");
    lines.push(await refusing("encoding", () => utf8.decode(rest.subarray(0, end))));
  }
  const [untrusted, first, trusted, second] = lines;
  check(untrusted.startsWith("untrusted comment: ") && trusted.startsWith("trusted comment: "), "encoding");
  const [head, overAll] = [base64(74, "encoding")(first), base64(64, "encoding")(second)];
  check(same(head.subarray(0, 2), Buffer.from("ED")), "algorithm");
  const owner = unhex(context.owner);
  check(same(head.subarray(2, 10), keyId(-8, owner).subarray(0, 8)), "signer");
  await checkSignature(owner, head.subarray(10), blake2b(rest), "signature");
  const comment = Buffer.from(trusted.slice("trusted comment: ".length));
  await checkSignature(owner, overAll, concat([head.subarray(10), comment]), "signature");
  const table = await refusing("encoding", () => parseToml(utf8.decode(rest), { integersAsBigInt: true }));
  const { signed, ...others } = table;
  check(signed !== undefined && Object.getPrototypeOf(signed ?? 0) !== Array.prototype && typeof signed === "object", "field");
  check(Object.keys(signed).sort().join() === "camera,serial", "field");
  const serial = typeof signed.serial === "bigint" ? Number(signed.serial) : undefined;
  int(1, Number.MAX_SAFE_INTEGER)(serial);
  check(NAME(signed.camera) === context.camera, "mismatch");
  check(serial > context.newest, "rollback");
  return { camera: signed.camera, serial, table: others };
}

async function keyFile(data, context) {
  const names = context.kid ? [context.kid] : [];
  const isLocked = context.passphrase !== null;
  check((data[0] === 0xd0) === isLocked, "passphrase");
  let plain = data;
  if (isLocked) {
    const whole = tagged(16, row(cbor(LOCK), map(new Map([[5, B12]])), BYTES));
    const [[header, protectedBytes], unprotected, sealed] = whole(decode(data));
    const [salt, n, r, p] = header.get("scrypt");
    check(n > 1 && n <= 1 << 20 && Number.isInteger(Math.log2(n)), "cost");
    check(r > 0 && r <= 32 && p > 0 && p <= 16 && 128 * n * r <= 1 << 30, "cost");
    const [use, kid] = [header.get("ps").get("use"), header.get("ps").get("kid")];
    check(use === context.use, "use");
    names.push(hex(kid));
    const aad = encode(["Encrypt0", protectedBytes, encode([use, kid])]);
    const key = scrypt(context.passphrase, salt, n, r, p);
    plain = await refusing("passphrase", () => openContent(3, key, unprotected.get(5), sealed, aad));
  }
  const says = decode(plain);
  check(says instanceof Map && says.size <= 9, "value");
  const alg = oneOf("algorithm", ...(context.use === "owner" ? [-8] : EK_BYTES.keys()))(says.get(3));
  const label = alg === HYBRID ? -2 : -4;
  const raw = B32(says.get(label));
  const open = await refusing("key", () => derivePublic(alg, raw));
  const right = new Map([...coseKey(alg, open), [2, keyId(alg, open)], [3, alg], [label, raw]]);
  check(right.size === says.size && [...right.keys()].every((name) => says.has(name)), "field");
  check(same(encode(right), encode(says)), "key");
  check(names.every((name) => name === hex(says.get(2))), "use");
  return { kid: says.get(2), alg, private: raw };
}

async function auditLog(data, context) {
  let before = ZEROS;
  const entries = [];
  for (const [, one] of sequence(data)) {
    const [, , entry] = await sign1(one, MIB / 4, [context.owner], { "application/plateseal-audit+cbor": ENTRY });
    check(entry.get("seq") === entries.length && same(entry.get("prev"), before), "chain");
    check(entries.length || entry.get("action") === "keys", "chain");
    entries.push(entry);
    before = sha256(one);
  }
  return { entries, head: before };
}

async function auditHead(data, context) {
  const [, , says] = await sign1(data, 1024, [context.owner], { "application/plateseal-audit-head+cbor": HEAD });
  const entries = sequence(unhex(context.log)).map(([, one]) => one);
  check(says.get("seq") < entries.length && same(sha256(entries[says.get("seq")]), says.get("digest")), "chain");
  return says;
}

export const OTHERS = {
  rotation, renewal, "renewal-answer": renewalAnswer, probe, "probe-answer": probeAnswer, health, enrolment,
  "device-record": deviceRecord, bundle, "key-file": keyFile, "audit-log": auditLog, "audit-head": auditHead,
};
