// Reads every message of docs/FORMAT.md in JavaScript, written from that document, and judges the test vectors.
//
//     npm ci && node reader.js ..
//
// Shares nothing with the reader in Python but the files that both judge.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { check, compare, decode, encode, first, Refused, same, sequence } from "./cbor.js";
import {
  checkPublic, checkSignature, checkSigner, commitment, coseKey, derivePublic, EK_BYTES, hex, HYBRID, keyId,
  openContent, openKey, refusing, scrypt, sha256, unhex,
} from "./crypto.js";
import { all, bytes, byVersion, cbor, fields, int, map, oneOf, row, tagged, text } from "./kinds.js";

const MIB = 1 << 20;
const READ = "application/plateseal+cbor";
const GRAVE = "application/plateseal-tombstone+cbor";
const SEQ = int(0, Number.MAX_SAFE_INTEGER);
const TIME = int(0, 253402300799999);
const SHARE = int(0, 1000);
const PX = int(0, 16384);
const NAME = text(64);
const BYTES = bytes(0, 8 * MIB);
const [B8, B12, B16, B32, B48, B64] = [8, 12, 16, 32, 48, 64].map((n) => bytes(n));
const ALG = oneOf("algorithm", ...EK_BYTES.keys());
const ZEROS = new Uint8Array(32);
const isZero = (digest) => same(digest, ZEROS);

const CHAIN = { chain: B16, seq: SEQ, prev: B32 };
const PLACE = byVersion(
  map(fields({ v: 1, ...CHAIN }), fields({ last: B32 })),
  map(fields({ v: 2, run: SEQ, ...CHAIN }), fields({ com: B32, rcpt: row(B8, SEQ, B32) })),
);
const RECIPIENT = row(cbor(map(new Map([[1, ALG], [4, B32]]))), map(new Map([[-4, BYTES]])), B48);
const CONTENT = tagged(96, row(
  cbor(map(new Map([[1, oneOf("algorithm", 3, 24)]]))), map(new Map([[5, B12]])), bytes(16, MIB), all(RECIPIENT, 1, 8),
));
const CLOCK = ["synchronized", "unsynchronized", "recorded"];
const plaintextOf = (v, clocks) => map(
  fields({
    v, camera: NAME, captured_at: TIME, clock: oneOf("value", ...clocks), text: text(20), confidences: all(SHARE, 0, 20),
    votes: all(int(0, 1e6), 2, 2), detector: SHARE, box: all(PX, 4, 4), frame: SEQ, frame_wh: all(PX, 2, 2),
    first_seen: TIME, last_seen: TIME, direction: oneOf("value", "approaching", "receding", "unknown"), crop: BYTES,
    models: map(fields({ detector: B32, reader: B32 })), agent: NAME,
  }),
  fields({ region: NAME, site: NAME, lane: NAME, position: row(int(-90e6, 90e6), int(-180e6, 180e6)) }),
);
const PLAINTEXT = { 1: plaintextOf(1, CLOCK), 2: plaintextOf(2, [...CLOCK, "behind"]) };
const TOMBSTONE = map(fields({
  v: 1, reason: oneOf("value", "overflow", "expired", "evicted"), count: int(1, Number.MAX_SAFE_INTEGER), from: TIME,
  until: TIME, gone: all(row(B16, SEQ, SEQ, B32), 0, 1024),
}));
const receiptOf = (v, more) => map(fields({
  v, id: B32, len: int(0, MIB), dev: B32, chain: B16, seq: SEQ, at: TIME, log: SEQ, ...more,
}));
const RECEIPT = byVersion(receiptOf(1, {}), receiptOf(2, { prev: B32 }));
const HELD = map(fields({ v: 2, id: B32, case: NAME, slot: RECIPIENT }));
const ANSWERS = [BYTES, text(200), int(0, 86400)];
const KEY = map(fields({ kid: B32, alg: ALG, pub: BYTES, for: NAME, from: TIME, until: TIME }));
const keyringOf = (v, more) => map(fields({ v, serial: SEQ, keys: all(KEY, 1, 4096), ...more }));
const KEYRING = byVersion(keyringOf(1, {}), keyringOf(2, { issued: TIME, recorded: oneOf("value", true, false) }));
const ROTATION = map(fields({ v: 1, device: NAME, key: B32, csr: bytes(1, 2048), proof: B64 }));
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

/** Check a COSE_Sign1 by one of these keys (hex); return its header, the header's bytes, and its payload. */
async function sign1(data, most, keys, kinds, more = []) {
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

/** Open a COSE_Encrypt that is bound to an outer header, with the private keys of `holders`. */
async function openEncrypt(content, outer, holders, committed) {
  const [[header, protectedBytes], unprotected, ciphertext, recipients] = content;
  const held = holders.map(({ alg, private: digits }) => [alg, keyId(alg, derivePublic(alg, unhex(digits))), unhex(digits)]);
  const mine = recipients
    .map((slot) => [slot, held.find(([alg, kid]) => alg === slot[0][0].get(1) && same(kid, slot[0][0].get(4)))])
    .find(([, key]) => key);
  check(mine, "recipient");
  const [[[to, toBytes], ek, sealed], [alg, , raw]] = mine;
  const info = encode(["HPKE Recipient", header.get(1), toBytes, new Uint8Array()]);
  const key = await refusing("sealed-key", () => openKey(alg, raw, ek.get(-4), sealed, info));
  check(!committed || same(committed, commitment(key)), "commitment");
  const aad = encode(["Encrypt", protectedBytes, outer]);
  return refusing("ciphertext", () => openContent(header.get(1), key, unprotected.get(5), ciphertext, aad));
}

function plaintext(data, context) {
  const version = context.version ?? 1;
  const [value, rest] = version === 1 ? [decode(data), []] : first(data);
  check(rest.every((byte) => byte === 0), "encoding");
  const read = PLAINTEXT[version](value);
  check(read.get("confidences").length === [...read.get("text")].length, "value");
  return read;
}

async function envelope(data, context, held = []) {
  const kinds = { [READ]: CONTENT, [GRAVE]: TOMBSTONE };
  const [header, protectedBytes, inside] = await sign1(data, MIB, [context.device], kinds, [["ps", PLACE]]);
  const place = header.get("ps");
  const [version, seq, prev] = ["v", "seq", "prev"].map((name) => place.get(name));
  const values = { id: sha256(data), kid: header.get(4), ps: place };
  if (version === 1) {
    check((seq === 0) === isZero(prev) && (seq === 0 || !place.has("last")), "value");
  } else {
    check(place.has("com") === (header.get(3) === READ), "field");
    check(!isZero(prev) || (place.get("run") === 0 && seq === 0), "value");
  }
  if (header.get(3) === GRAVE) {
    const gone = inside.get("gone");
    check(gone.length > 0 === (inside.get("reason") !== "overflow"), "value");
    check(gone.every(([, from, to]) => from <= to), "order");
    for (let i = 1; i < gone.length; i++) {
      const order = compare(gone[i - 1][0], gone[i][0]);
      check(order < 0 || (order === 0 && gone[i - 1][2] + 1 < gone[i][1]), "order");
    }
    return { ...values, tombstone: inside };
  }
  const names = inside[3].map(([[to]]) => hex(to.get(4)));
  check(version === 1 || new Set(names).size === names.length, "value");
  inside[3].push(...held);
  for (const [[to], ek] of inside[3]) check(ek.get(-4).length === EK_BYTES.get(to.get(1)), "value");
  if (!context.keys) return values;
  const opened = await openEncrypt(inside, protectedBytes, context.keys, place.get("com"));
  return { ...values, read: plaintext(opened, { version }) };
}

const placeOf = (data) => decode(decode(data).value[0]).get("ps");

async function held(data, context) {
  const of = unhex(context.envelope);
  if (data[0] !== 0xd2) {
    check(placeOf(of).get("v") === 1, "version");
    return (await envelope(of, context, [RECIPIENT(decode(data))])).read;
  }
  const [, , says] = await sign1(data, 4096, [context.owner], { "application/plateseal-held+cbor": HELD });
  check(same(says.get("id"), sha256(of)) && says.get("case") === context.case, "mismatch");
  return (await envelope(of, context, [says.get("slot")])).read;
}

async function receipt(data, context) {
  const [, , says] = await sign1(data, 1024, context.receivers, { "application/plateseal-receipt+cbor": RECEIPT });
  const of = unhex(context.envelope);
  const header = decode(decode(of).value[0]);
  const place = header.get("ps");
  const names = says.get("len") === of.length && says.get("v") === place.get("v") && says.get("seq") === place.get("seq");
  const digests = [["id", sha256(of)], ["dev", header.get(4)], ["chain", place.get("chain")]];
  check(names && digests.every(([name, value]) => same(says.get(name), value)), "mismatch");
  return says;
}

function request(data) {
  check(data.length <= 8 * MIB, "size");
  const items = all(BYTES, 1, 64)(sequence(data).map(([value]) => value));
  check(items.every((one) => one.length <= MIB), "size");
  return items;
}

function reply(data, context) {
  check(data.length <= 64 * (1024 + 8), "size");
  const answers = sequence(data).map(([value]) => value);
  check(answers.length === context.sent, "value");
  return answers.map((answer) => {
    check(Array.isArray(answer) && answer.length === 2, "value");
    return [int(0, 2)(answer[0]), ANSWERS[answer[0]](answer[1])];
  });
}

function chosen(keys, at, version) {
  const began = keys.filter((key) => key.get("from") <= at);
  const holding = began.filter((key) => at < key.get("until"));
  const next = version === 1 ? keys : keys.slice(0, 1);
  return [holding, began, next].find((some) => some.length).at(-1).get("kid");
}

async function keyring(data, context) {
  const [, , says] = await sign1(data, 8 * MIB, [context.owner], { "application/plateseal-keyring+cbor": KEYRING });
  const keys = says.get("keys");
  for (const key of keys) {
    await checkPublic(key.get("alg"), key.get("pub"));
    check(same(key.get("kid"), keyId(key.get("alg"), key.get("pub"))), "key-id");
    check(key.get("from") < key.get("until"), "order");
  }
  for (let i = 1; i < keys.length; i++) check(keys[i - 1].get("from") <= keys[i].get("from"), "order");
  const names = [...new Set(keys.map((key) => key.get("for")))].sort((a, b) => compare(Buffer.from(a), Buffer.from(b)));
  check(names.length <= 8, "value");
  const newest = context.newest ?? { serial: -1 };
  const isSame = newest.serial === says.get("serial") && newest.sha256 === hex(sha256(data));
  check(says.get("serial") > newest.serial || isSame, "rollback");
  const own = names.map((name) => keys.filter((key) => key.get("for") === name));
  const apart = (some) => some.every((key, i) => i === 0 || some[i - 1].get("until") <= key.get("from"));
  check(says.get("v") === 1 || own.every(apart), "order");
  if (context.at !== undefined) says.set("chosen", own.map((some) => chosen(some, context.at, says.get("v"))));
  return says;
}

async function rotation(data, context) {
  const keys = context.enrolled.map((unit) => unit.key);
  const [header, , says] = await sign1(data, 4096, keys, { "application/plateseal-rotation+cbor": ROTATION });
  const [device, key, csr, proof] = ["device", "key", "csr", "proof"].map((name) => says.get(name));
  checkSigner(key);
  await checkSignature(key, proof, ["plateseal rotation 1", header.get(4), device, key, csr], "proof");
  check(!same(keyId(-8, key), header.get(4)), "same-key");
  const old = context.enrolled.find((unit) => same(keyId(-8, unhex(unit.key)), header.get(4)));
  check(old.name === device, "mismatch");
  return says;
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

const JUDGES = {
  envelope, tombstone: envelope, plaintext, held, receipt, request, reply, keyring, rotation, "key-file": keyFile,
  "audit-log": auditLog,
};
const SIGNED = { receipt: "Receipt", keyring: "Keyring", rotation: "", held: "" };
const VERIFICATION = ["signer", "signature", "proof", "mismatch", "rollback", "same-key"];
const OPENING = ["recipient", "sealed-key", "commitment", "ciphertext"];

function errorOf(message, cause) {
  if (message === "key-file") return "KeyFileError";
  if (message === "audit-log") return "AuditVerificationError";
  if (VERIFICATION.includes(cause)) return `${SIGNED[message] ?? "Envelope"}VerificationError`;
  return OPENING.includes(cause) ? "OpenError" : "FormatError";
}

/** Return a value as JSON has it: byte strings in hex, keys as text in one order. */
function plainOf(v) {
  if (v instanceof Uint8Array) return hex(v);
  if (Array.isArray(v)) return v.map(plainOf);
  if (v === null || typeof v !== "object") return v;
  const pairs = v instanceof Map ? [...v].map(([name, part]) => [String(name), part]) : Object.entries(v);
  return Object.fromEntries(pairs.map(([name, part]) => [name, plainOf(part)]).sort(([a], [b]) => (a < b ? -1 : 1)));
}

async function judge(vector) {
  const pieces = vector.data.map((part) => (typeof part === "string" ? part : part.repeat.repeat(part.times)));
  try {
    const values = await JUDGES[vector.message](unhex(pieces.join("")), vector.context);
    return { outcome: "accepted", values: plainOf(values) };
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    return { outcome: "refused", error: errorOf(vector.message, error.message), cause: error.message };
  }
}

const folder = process.argv[2];
const files = Object.keys(JUDGES)
  .filter((message) => existsSync(join(folder, message)))
  .flatMap((message) => readdirSync(join(folder, message)).map((name) => join(message, name)))
  .filter((name) => name.endsWith(".json"));
let wrong = 0;
for (const name of files.sort()) {
  const { expect, ...vector } = JSON.parse(readFileSync(join(folder, name)));
  const [found, expected] = [JSON.stringify(plainOf(await judge(vector))), JSON.stringify(plainOf(expect))];
  if (found !== expected) {
    wrong += 1;
    console.log(`${name}: ${found.slice(0, 200)}, expected ${expected.slice(0, 200)}`);
  }
}
console.log(`${files.length} vectors, ${files.length - wrong} as expected`);
process.exitCode = wrong > 0 || files.length === 0 ? 1 : 0;
