// Kinds of values, as the CDDL of docs/FORMAT.md has them. A kind takes a value and returns it, or refuses it.

import { check, decode, Tagged } from "./cbor.js";

export const int = (low, high) => (v) => {
  check(typeof v === "number" && low <= v && v <= high, "value");
  return v;
};
export const bytes = (low, high = low) => (v) => {
  check(v instanceof Uint8Array && low <= v.length && v.length <= high, "value");
  return v;
};
/** Characters are Unicode code points. */
export const text = (high, low = 0) => (v) => {
  check(typeof v === "string" && low <= [...v].length && [...v].length <= high, "value");
  return v;
};
/** A text of printable characters. */
export const line = (high) => (v) => {
  text(high)(v);
  check([...v].every((letter) => letter === " " || !/[\p{C}\p{Z}]/u.test(letter)), "value");
  return v;
};
export const match = (pattern) => (v) => {
  check(typeof v === "string" && pattern.test(v), "value");
  return v;
};
/** Base64 with padding, whose unused bits are zero. */
export const base64 = (length, cause = "value") => (v) => {
  check(typeof v === "string", cause);
  const raw = Buffer.from(v, "base64");
  check(raw.length === length && raw.toString("base64") === v, cause);
  return new Uint8Array(raw);
};
/** A time such as 2026-11-30T08:15:00+00:00. */
export const moment = (v) => {
  match(/^(?!0000)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$/)(v);
  const at = new Date(v);
  check(!Number.isNaN(at.getTime()) && at.toISOString() === v.replace("+00:00", ".000Z"), "value");
  return v;
};
export const orNull = (kind) => (v) => (v === null ? v : kind(v));
export const oneOf = (cause, ...choices) => (v) => {
  check(choices.includes(v), cause);
  return v;
};
export const all = (kind, low, high) => (v) => {
  check(Array.isArray(v) && low <= v.length && v.length <= high, "value");
  return v.map(kind);
};
export const row = (...kinds) => (v) => {
  check(Array.isArray(v) && v.length === kinds.length, "value");
  return v.map((part, i) => kinds[i](part));
};
export const tagged = (tag, kind) => (v) => {
  check(v instanceof Tagged && v.tag === tag, "value");
  return kind(v.value);
};
/** A byte string that holds CBOR: return its value and its bytes. */
export const cbor = (kind) => (v) => {
  check(v instanceof Uint8Array, "value");
  return [kind(decode(v)), v];
};
/** A map with exactly these fields; those of `optional` may be missing. A field `v` is the version. */
export const map = (fields, optional = new Map()) => {
  const kinds = new Map([...fields, ...optional]);
  const version = fields.get("v");
  const kind = (v) => {
    check(v instanceof Map, "value");
    if (version) check(v.get("v") === version, "version");
    for (const name of fields.keys()) check(v.has(name), "field");
    for (const name of v.keys()) check(kinds.has(name), "field");
    return new Map([...v].map(([name, part]) => [name, name === "v" ? part : kinds.get(name)(part)]));
  };
  return kind;
};
export const byVersion = (...versions) => (v) => {
  check(v instanceof Map, "value");
  const version = v.get("v");
  check(typeof version === "number" && version >= 1 && version <= versions.length, "version");
  return versions[version - 1](v);
};
/** A map whose kind is told by one of its fields. */
export const byField = (name, kinds) => (v) => {
  check(v instanceof Map, "value");
  check(v.has(name), "field");
  check(typeof v.get(name) === "string" && Object.hasOwn(kinds, v.get(name)), "value");
  return kinds[v.get(name)](v);
};
/** An array whose kind is told by its length. */
export const byLength = (kinds) => (v) => {
  check(Array.isArray(v) && Object.hasOwn(kinds, v.length), "value");
  return kinds[v.length](v);
};
export const fields = (object) => new Map(Object.entries(object));
