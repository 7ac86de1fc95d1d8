// Keys, key ids, signatures, HPKE and content encryption: node's crypto, and public packages for what it lacks.

import crypto from "node:crypto";
import { Aes256Gcm, CipherSuite, DhkemP256HkdfSha256, HkdfSha256 } from "@hpke/core";
import { Chacha20Poly1305 } from "@hpke/chacha20poly1305";
import { DhkemX25519HkdfSha256 } from "@hpke/dhkem-x25519";
import { XWing } from "@hpke/hybridkem-x-wing";
import { ml_kem768 } from "@noble/post-quantum/ml-kem.js";
import { check, concat, encode, Refused, same } from "./cbor.js";

export const HYBRID = "HPKE-MLKEM768-X25519-KE";
export const EK_BYTES = new Map([[50, 32], [53, 65], [HYBRID, 1120]]);
const PUBLIC_BYTES = new Map([[50, 32], [53, 65], [HYBRID, 1216]]);
const SUITES = new Map([
  [50, new CipherSuite({ kem: new DhkemX25519HkdfSha256(), kdf: new HkdfSha256(), aead: new Chacha20Poly1305() })],
  [53, new CipherSuite({ kem: new DhkemP256HkdfSha256(), kdf: new HkdfSha256(), aead: new Aes256Gcm() })],
  [HYBRID, new CipherSuite({ kem: new XWing(), kdf: new HkdfSha256(), aead: new Chacha20Poly1305() })],
]);
const MLKEM_BYTES = 1184;
const MLKEM_Q = 3329;
const P = 2n ** 255n - 19n;
const Y_OF_ORDER_8 = 0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n;
const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
// What stands before 32 raw bytes in PKCS#8 and SubjectPublicKeyInfo (RFC 8410).
const PKCS8 = { ed25519: "302e020100300506032b657004220420", x25519: "302e020100300506032b656e04220420" };
const SPKI = { ed25519: "302a300506032b6570032100", x25519: "302a300506032b656e032100" };

export const sha256 = (data) => new Uint8Array(crypto.createHash("sha256").update(data).digest());
export const blake2b = (data) => new Uint8Array(crypto.createHash("blake2b512").update(data).digest());
export const hex = (bytes) => Buffer.from(bytes).toString("hex");
export const unhex = (digits) => new Uint8Array(Buffer.from(digits, "hex"));
const littleEndian = (bytes) => BigInt("0x" + (hex(Uint8Array.from(bytes).reverse()) || "0"));

/** Run, and refuse with this cause whatever goes wrong in a library. */
export async function refusing(cause, work) {
  try {
    return await work();
  } catch (error) {
    throw error instanceof Refused ? error : new Refused(cause);
  }
}

const der = (prefix, raw) => Buffer.concat([Buffer.from(prefix, "hex"), raw]);
const privateOf = (kind, raw) => crypto.createPrivateKey({ key: der(PKCS8[kind], raw), format: "der", type: "pkcs8" });
const publicOf = (kind, raw) => crypto.createPublicKey({ key: der(SPKI[kind], raw), format: "der", type: "spki" });
const raw32 = (key) => new Uint8Array(key.export({ format: "der", type: "spki" }).subarray(-32));
const rawPublic = (key) => raw32(crypto.createPublicKey(key));

/** Return the members of a COSE_Key that identify it. -8 signs; 50, 53 and the hybrid receive. */
export function coseKey(alg, raw) {
  if (alg === 53) return new Map([[1, 2], [-1, 1], [-2, raw.subarray(1, 33)], [-3, raw.subarray(33)]]);
  if (alg === HYBRID) return new Map([[1, 7], [3, HYBRID], [-1, raw]]);
  return new Map([[1, 1], [-1, alg === 50 ? 4 : 6], [-2, raw]]);
}

/** Return the COSE Key Thumbprint (RFC 9679). */
export const keyId = (alg, raw) => sha256(encode(coseKey(alg, raw)));

/** Return the public key of 32 private bytes; throws for bytes that are none. */
export function derivePublic(alg, raw) {
  if (alg === 53) {
    const ecdh = crypto.createECDH("prime256v1");
    ecdh.setPrivateKey(raw);
    return new Uint8Array(ecdh.getPublicKey());
  }
  if (alg !== HYBRID) return rawPublic(privateOf(alg === -8 ? "ed25519" : "x25519", raw));
  const seeds = crypto.createHash("shake256", { outputLength: 96 }).update(raw).digest();
  const { publicKey } = ml_kem768.keygen(new Uint8Array(seeds.subarray(0, 64)));
  return concat([publicKey, rawPublic(privateOf("x25519", seeds.subarray(64)))]);
}

/** Refuse bytes that are no key of their kind, or an X25519 key of small order. */
export async function checkPublic(alg, raw) {
  check(raw.length === PUBLIC_BYTES.get(alg), "value");
  await refusing("key", () => {
    if (alg === 53) {
      check(raw[0] === 4, "key");
      crypto.createPublicKey({ key: { kty: "EC", crv: "P-256", x: url(raw.subarray(1, 33)), y: url(raw.subarray(33)) }, format: "jwk" });
      return;
    }
    const any = privateOf("x25519", new Uint8Array(32).fill(1));
    const shared = crypto.diffieHellman({ privateKey: any, publicKey: publicOf("x25519", raw.subarray(-32)) });
    check(shared.some((byte) => byte !== 0), "key");
    if (alg === HYBRID) check(coefficients(raw.subarray(0, MLKEM_BYTES - 32)).every((one) => one < MLKEM_Q), "key");
  });
}

const url = (bytes) => Buffer.from(bytes).toString("base64url");

function* coefficients12(bytes) {
  for (let i = 0; i < bytes.length; i += 3) {
    yield bytes[i] | ((bytes[i + 1] & 15) << 8);
    yield (bytes[i + 1] >> 4) | (bytes[i + 2] << 4);
  }
}
const coefficients = (bytes) => [...coefficients12(bytes)];

/** Refuse an Ed25519 key of small order, under which anybody can sign. */
export function checkSigner(raw) {
  const y = (littleEndian(raw) & (2n ** 255n - 1n)) % P;
  check(![0n, 1n, P - 1n, Y_OF_ORDER_8, P - Y_OF_ORDER_8].includes(y), "key");
}

/** Return the Ed25519 key in a PEM file. */
export async function publicPem(data) {
  const key = await refusing("encoding", () => crypto.createPublicKey({ key: Buffer.from(data), format: "pem" }));
  check(key.asymmetricKeyType === "ed25519", "key");
  return raw32(key);
}

/** Refuse a signature over bytes, or the encoding of an array, that does not hold; S must be below the order (RFC 8032, 5.1.7). */
export async function checkSignature(raw, signature, signed, cause) {
  await refusing(cause, () => {
    check(littleEndian(signature.subarray(32)) < ORDER, cause);
    const message = signed instanceof Uint8Array ? signed : encode(signed);
    check(crypto.verify(null, message, publicOf("ed25519", raw), signature), cause);
  });
}

export const commitment = (contentKey) => sha256(encode(["plateseal content key 2", contentKey]));

/** Undo HPKE in base mode with empty AAD. */
export async function openKey(alg, raw, ek, sealed, info) {
  const suite = SUITES.get(alg);
  const key = await suite.kem.deserializePrivateKey(raw);
  const recipient = await suite.createRecipientContext({ recipientKey: key, enc: ek, info });
  return new Uint8Array(await recipient.open(sealed));
}

/** Undo an AEAD by its COSE number: 3 is A256GCM, 24 is ChaCha20/Poly1305. */
export function openContent(alg, key, nonce, sealed, aad) {
  const name = alg === 3 ? "aes-256-gcm" : "chacha20-poly1305";
  const aead = crypto.createDecipheriv(name, key, nonce, { authTagLength: 16 });
  aead.setAAD(aad, { plaintextLength: sealed.length - 16 });
  aead.setAuthTag(sealed.subarray(-16));
  return concat([aead.update(sealed.subarray(0, -16)), aead.final()]);
}

export const scrypt = (passphrase, salt, N, r, p) =>
  new Uint8Array(crypto.scryptSync(passphrase, salt, 32, { N, r, p, maxmem: 2 ** 31 - 1 }));

export { same };
