// Reads every message of docs/FORMAT.md in JavaScript, written from that document, and judges the test vectors.
//
//     npm ci && node reader.js ..
//
// Shares nothing with the reader in Python but the files that both judge.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { check, compare, decode, encode, first, Refused, same, sequence } from "./cbor.js";
import {
  ALG, B12, B16, B32, B48, B8, BYTES, GRAVE, isZero, MIB, NAME, PX, READ, SEQ, SHARE, sign1, TIME,
} from "./common.js";
import {
  checkPublic, commitment, derivePublic, EK_BYTES, hex, keyId, openContent, openKey, publicPem, refusing, sha256, unhex,
} from "./crypto.js";
import { Decimal, readJson } from "./json.js";
import { all, bytes, byVersion, cbor, fields, int, map, oneOf, row, tagged, text } from "./kinds.js";
import { OTHERS } from "./others.js";

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
const plaintextOf = (v, clocks, more = {}) => map(
  fields({
    v, camera: NAME, captured_at: TIME, clock: oneOf("value", ...clocks), text: text(20), confidences: all(SHARE, 0, 20),
    votes: all(int(0, 1e6), 2, 2), detector: SHARE, box: all(PX, 4, 4), frame: SEQ, frame_wh: all(PX, 2, 2),
    first_seen: TIME, last_seen: TIME, direction: oneOf("value", "approaching", "receding", "unknown"), crop: BYTES,
    models: map(fields({ detector: B32, reader: B32 })), agent: NAME,
  }),
  fields({ region: NAME, site: NAME, lane: NAME, position: row(int(-90e6, 90e6), int(-180e6, 180e6)), ...more }),
);
const PLAINTEXT = { 1: plaintextOf(1, CLOCK), 2: plaintextOf(2, [...CLOCK, "behind"], { seen: text(20), format: NAME }) };
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
/** Return the content key of a COSE_Encrypt, with the private keys of `holders`. */
async function unseal(content, holders) {
  const [[header], , , recipients] = content;
  const held = holders.map(({ alg, private: digits }) => [alg, keyId(alg, derivePublic(alg, unhex(digits))), unhex(digits)]);
  const mine = recipients
    .map((slot) => [slot, held.find(([alg, kid]) => alg === slot[0][0].get(1) && same(kid, slot[0][0].get(4)))])
    .find(([, key]) => key);
  check(mine, "recipient");
  const [[[to, toBytes], ek, sealed], [alg, , raw]] = mine;
  const info = encode(["HPKE Recipient", header.get(1), toBytes, new Uint8Array()]);
  return refusing("sealed-key", () => openKey(alg, raw, ek.get(-4), sealed, info));
}

/** Open a COSE_Encrypt that is bound to an outer header; its key must be the one that is committed to, if any is. */
function openWith(content, outer, key, committed) {
  const [[header, protectedBytes], unprotected, ciphertext] = content;
  check(!committed || same(committed, commitment(key)), "commitment");
  const aad = encode(["Encrypt", protectedBytes, outer]);
  return refusing("ciphertext", () => openContent(header.get(1), key, unprotected.get(5), ciphertext, aad));
}

/** Check an export folder: what is in it belongs together. */
async function exported(files, context) {
  const names = [...files.keys()].filter((name) => name !== "SHA256SUMS").sort();
  check(files.has("SHA256SUMS"), "digest");
  const lines = Buffer.from(files.get("SHA256SUMS")).toString().split("\n").slice(0, -1).sort();
  const right = names.map((name) => `${hex(sha256(files.get(name)))}  ${name}`).sort();
  check(lines.length > 0 && lines.join("\n") === right.join("\n"), "digest");
  check(["envelope.cose", "device.pub", "content.key", "read.json"].every((name) => files.has(name)), "field");
  check(!files.has("receipt.cose") || files.has("receipt.pub"), "field");
  const device = hex(await publicPem(files.get("device.pub")));
  check(device === context.device, "signer");
  const key = /^([0-9a-f]{64})\n$/.exec(Buffer.from(files.get("content.key")).toString("latin1"));
  check(key, "value");
  const found = await envelope(files.get("envelope.cose"), { device, contentKey: unhex(key[1]) });
  check(found.read, "content-type");
  check(sameJson(readJson(files.get("read.json")), told(found)), "mismatch");
  check(same(files.get("crop.jpg") ?? new Uint8Array(), found.read.get("crop")), "mismatch");
  const [chain, seq] = ["chain", "seq"].map((name) => found.ps.get(name));
  if (files.has("previous.cose")) {
    await envelope(files.get("previous.cose"), { device });
    check(isDigest(before(found.ps), sha256(files.get("previous.cose"))), "chain");
  }
  if (files.has("next.cose")) {
    const after = (await envelope(files.get("next.cose"), { device })).ps;
    check(isDigest(before(after), found.id), "chain");
    check(after.get("seq") === (same(after.get("chain"), chain) ? seq + 1 : 0), "chain");
  }
  let storedAt = null;
  if (files.has("receipt.cose")) {
    const receiver = hex(await publicPem(files.get("receipt.pub")));
    check(context.receivers.includes(receiver), "signer");
    const of = { receivers: [receiver], envelope: hex(files.get("envelope.cose")) };
    storedAt = (await receipt(files.get("receipt.cose"), of)).get("at");
  }
  const neighbours = ["previous.cose", "next.cose"].filter((name) => files.has(name));
  return { id: found.id, read: found.read, neighbours, stored_at: storedAt };
}

const isDigest = (named, digest) => named !== undefined && same(named, digest);
const before = (place) => (place.get("v") === 1 && place.get("seq") === 0 ? place.get("last") : place.get("prev"));
const sameJson = (a, b) => JSON.stringify(plainOf(a)) === JSON.stringify(plainOf(b));
const iso = (milliseconds) => new Date(milliseconds).toISOString();

/** What read.json says of an opened envelope. */
function told({ id, kid, ps, read }) {
  const of = (...names) => Object.fromEntries(names.map((name) => [name, read.get(name) ?? null]));
  const at = (...names) => Object.fromEntries(names.map((name) => [name, iso(read.get(name))]));
  return {
    envelope: id, device_key: kid, chain: ps.get("chain"), seq: ps.get("seq"),
    ...of("camera", "clock", "text", "votes", "box", "frame", "frame_wh", "direction", "site", "region", "lane"),
    ...at("captured_at", "first_seen", "last_seen"), ...(read.has("seen") ? of("seen", "format") : {}),
    position: read.get("position")?.map((part) => part / 1e6) ?? null,
    confidences: read.get("confidences").map((share) => share / 1000), detector_confidence: read.get("detector") / 1000,
    detector_sha256: read.get("models").get("detector"), reader_sha256: read.get("models").get("reader"),
    crop_bytes: read.get("crop").length, agent_version: read.get("agent"),
  };
}

function plaintext(data, context) {
  const version = context.version ?? 1;
  const [value, rest] = version === 1 ? [decode(data), []] : first(data);
  check(rest.every((byte) => byte === 0), "encoding");
  const read = PLAINTEXT[version](value);
  const seen = read.get("seen") ?? read.get("text");
  check([seen, read.get("text")].every((one) => [...one].length === read.get("confidences").length), "value");
  check(read.has("seen") || !read.has("format"), "field");
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
  if (!context.keys && !context.contentKey) return values;
  const key = context.contentKey ?? (await unseal(inside, context.keys));
  const opened = await openWith(inside, protectedBytes, key, place.get("com"));
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

const JUDGES = {
  envelope, tombstone: envelope, plaintext, held, receipt, request, reply, keyring, export: exported, ...OTHERS,
};
const ONE = {
  "key-file": "KeyFile", "audit-log": "AuditVerification", "audit-head": "AuditVerification", export: "Verification",
  "device-record": "Receiver", "renewal-answer": "KeyFile",
};
const OF_ITS_OWN = { "renewal-answer size": "TransportError", "enrolment key-id": "VerificationError" };
const SIGNED = {
  envelope: "Envelope", tombstone: "Envelope", receipt: "Receipt", "probe-answer": "Receipt", keyring: "Keyring",
  bundle: "Bundle",
};
const VERIFICATION = ["signer", "signature", "proof", "mismatch", "rollback", "same-key", "ended"];
const OPENING = ["recipient", "sealed-key", "commitment", "ciphertext"];

function errorOf(message, cause) {
  const own = OF_ITS_OWN[`${message} ${cause}`];
  if (own) return own;
  if (ONE[message]) return `${ONE[message]}Error`;
  if (VERIFICATION.includes(cause)) return `${SIGNED[message] ?? ""}VerificationError`;
  return OPENING.includes(cause) ? "OpenError" : "FormatError";
}

/** Return a value as JSON has it: byte strings in hex, keys as text in one order. */
function plainOf(v) {
  if (v instanceof Uint8Array) return hex(v);
  if (Array.isArray(v)) return v.map(plainOf);
  if (typeof v === "bigint") return Number(v);
  if (v instanceof Decimal) return v.value;
  if (v === null || typeof v !== "object") return v;
  const pairs = v instanceof Map ? [...v].map(([name, part]) => [String(name), part]) : Object.entries(v);
  return Object.fromEntries(pairs.map(([name, part]) => [name, plainOf(part)]).sort(([a], [b]) => (a < b ? -1 : 1)));
}

const joined = (parts) =>
  unhex(parts.map((part) => (typeof part === "string" ? part : part.repeat.repeat(part.times))).join(""));

async function judge(vector) {
  const files = vector.files && new Map(Object.entries(vector.files).map(([name, parts]) => [name, joined(parts)]));
  try {
    const values = await JUDGES[vector.message](files ?? joined(vector.data), vector.context);
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
