// Deterministic CBOR (RFC 8949, 4.2.1), strict, as docs/FORMAT.md has it: what is decoded must encode to the same bytes.
// A map is a Map, a byte string a Uint8Array, a tag a Tagged, an integer a number, or a bigint beyond 2^53 - 1.

export class Refused extends Error {}

/** Refuse unless the condition holds; the cause is one word of README.md. */
export function check(holds, cause) {
  if (!holds) throw new Refused(cause);
}

export class Tagged {
  constructor(tag, value) {
    this.tag = tag;
    this.value = value;
  }
}

const TAGS = [16, 18, 96];
const MAX_DEPTH = 400;
const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export const concat = (parts) => new Uint8Array(Buffer.concat(parts));
export const compare = (a, b) => Buffer.compare(a, b);
export const same = (a, b) => compare(a, b) === 0;

function head(major, argument) {
  const n = BigInt(argument);
  if (n < 24n) return Uint8Array.of((major << 5) | Number(n));
  const width = n < 1n << 8n ? 1 : n < 1n << 16n ? 2 : n < 1n << 32n ? 4 : 8;
  const out = new Uint8Array(1 + width);
  out[0] = (major << 5) | (23 + [1, 2, 4, 8].indexOf(width) + 1);
  for (let i = 0; i < width; i++) out[1 + i] = Number((n >> BigInt(8 * (width - 1 - i))) & 255n);
  return out;
}

export function encode(value) {
  if (value === false || value === true || value === null) {
    return Uint8Array.of(value === false ? 0xf4 : value === true ? 0xf5 : 0xf6);
  }
  if (typeof value === "number" || typeof value === "bigint") {
    return value >= 0 ? head(0, value) : head(1, -1n - BigInt(value));
  }
  if (typeof value === "string") {
    const bytes = new TextEncoder().encode(value);
    return concat([head(3, bytes.length), bytes]);
  }
  if (value instanceof Uint8Array) return concat([head(2, value.length), value]);
  if (Array.isArray(value)) return concat([head(4, value.length), ...value.map(encode)]);
  if (value instanceof Tagged) return concat([head(6, value.tag), encode(value.value)]);
  const pairs = [...value].map(([key, part]) => concat([encode(key), encode(part)]));
  return concat([head(5, value.size), ...pairs.sort(compare)]);
}

/** Decode the item at a byte; return it, and where it ends. */
function item(data, start, depth = 0) {
  check(start < data.length && depth < MAX_DEPTH, "encoding");
  const major = data[start] >> 5;
  const info = data[start] & 31;
  check(info < 28, "encoding");
  const width = info < 24 ? 0 : 1 << (info - 24);
  const at = start + 1 + width;
  check(at <= data.length, "encoding");
  let big = width ? 0n : BigInt(info);
  for (let i = start + 1; i < at; i++) big = (big << 8n) | BigInt(data[i]);
  const n = big <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(big) : big;
  if (major === 0) return [n, at];
  if (major === 1) return [typeof n === "number" && n < Number.MAX_SAFE_INTEGER ? -1 - n : -1n - big, at];
  if (major === 7) {
    check(width === 0 && [20, 21, 22].includes(info), "encoding");
    return [{ 20: false, 21: true, 22: null }[info], at];
  }
  check(typeof n === "number" && (major > 3 || at + n <= data.length), "encoding");
  if (major === 2) return [data.subarray(at, at + n), at + n];
  if (major === 3) {
    try {
      return [text.decode(data.subarray(at, at + n)), at + n];
    } catch {
      throw new Refused("encoding");
    }
  }
  if (major === 6) {
    check(TAGS.includes(n), "encoding");
    const [value, end] = item(data, at, depth + 1);
    return [new Tagged(n, value), end];
  }
  const parts = [];
  let end = at;
  for (let i = 0; i < (major === 5 ? 2 * n : n); i++) {
    let part;
    [part, end] = item(data, end, depth + 1);
    parts.push(part);
  }
  if (major === 4) return [parts, end];
  const map = new Map();
  for (let i = 0; i < parts.length; i += 2) map.set(parts[i], parts[i + 1]);
  return [map, end];
}

/** Decode the first value; return it with the bytes behind it. */
export function first(data) {
  const [value, end] = item(data, 0);
  check(same(encode(value), data.subarray(0, end)), "encoding");
  return [value, data.subarray(end)];
}

/** Decode exactly one value. */
export function decode(data) {
  const [value, rest] = first(data);
  check(rest.length === 0, "encoding");
  return value;
}

/** Decode a CBOR sequence (RFC 8742) to pairs of a value and its bytes. */
export function sequence(data) {
  const found = [];
  for (let rest = data; rest.length > 0; ) {
    const [value, behind] = first(rest);
    found.push([value, rest.subarray(0, rest.length - behind.length)]);
    rest = behind;
  }
  return found;
}
