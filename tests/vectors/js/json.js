// JSON, strict: UTF-8, no name twice, no half characters. An object is a Map; a number with a point or an exponent is a
// Decimal, since 1.0 is not the integer 1.

import { check } from "./cbor.js";

export class Decimal {
  constructor(value) {
    this.value = value;
  }
}

const SPACE = /[ \t\n\r]*/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const WORD = /true|false|null/y;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function readJson(data) {
  let text;
  try {
    text = utf8.decode(data);
  } catch {
    check(false, "encoding");
  }
  let at = 0;
  const take = (pattern) => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found) at = pattern.lastIndex;
    return found;
  };
  const skip = () => take(SPACE);
  const eat = (letter) => {
    skip();
    if (text[at] !== letter) return false;
    at += 1;
    return true;
  };
  const string = () => {
    skip();
    const found = take(STRING);
    check(found, "encoding");
    const value = JSON.parse(found[0]);
    check(value.isWellFormed(), "encoding");
    return value;
  };
  const value = () => {
    if (eat("{")) return object();
    if (eat("[")) return array();
    if (text[at] === '"') return string();
    const word = take(WORD);
    if (word) return JSON.parse(word[0]);
    const number = take(NUMBER);
    check(number, "encoding");
    return number[1] || number[2] ? new Decimal(Number(number[0])) : Number(number[0]);
  };
  const object = () => {
    const found = new Map();
    if (eat("}")) return found;
    do {
      const name = string();
      check(eat(":") && !found.has(name), "encoding");
      found.set(name, value());
    } while (eat(","));
    check(eat("}"), "encoding");
    return found;
  };
  const array = () => {
    const found = [];
    if (eat("]")) return found;
    do found.push(value());
    while (eat(","));
    check(eat("]"), "encoding");
    return found;
  };
  const whole = value();
  skip();
  check(at === text.length, "encoding");
  return whole;
}
