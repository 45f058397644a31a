// Codes sealed in the browser (profile B): docs/oopa.md, "The secret on the way". HPKE (RFC 9180), base mode, one
// message, on WebCrypto: DHKEM over P-256, HKDF-SHA256, AES-128-GCM.

/** KEM identifiers (RFC 9180, 7.1; draft-irtf-cfrg-dnhpke, 4.1) and how each writes an uncompressed point. */
const forms = {
  compact: { kem: 0x0013, written: (point) => point.slice(1, 33) },
  uncompressed: { kem: 0x0010, written: (point) => point },
};

const none = new Uint8Array();
const utf8 = (text) => new TextEncoder().encode(text);
const two = (number) => Uint8Array.of(number >> 8, number & 0xff);
const field = (text) => join(two(utf8(text).length), utf8(text));

function join(...parts) {
  const all = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let end = 0;
  for (const part of parts) {
    all.set(part, end);
    end += part.length;
  }
  return all;
}

/** Payment and expiry (milliseconds) of a screen that asks for a code; else null. Merchants' names stand before both. */
export function parsePrompt(screen) {
  const reference = [...screen.matchAll(/(?<![\p{L}\p{N}_])[0-9A-HJKMNP-TV-Z]{16}(?![\p{L}\p{N}_])/gu)].at(-1);
  const time = [...screen.matchAll(/(\d{4}-\d{2}-\d{2}) (\d{2}:\d{2})Z/g)].at(-1);
  const expiresAt = time ? Date.parse(`${time[1]}T${time[2]}:00Z`) : NaN;
  return reference && !Number.isNaN(expiresAt) ? { payment: `pay_${reference[0]}`, expiresAt } : null;
}

/** What a code is good for: this payment, this screen word for word, this telephone, until this minute. */
export async function associatedData(screen, phone, prompt) {
  const seconds = new DataView(new ArrayBuffer(8));
  seconds.setBigUint64(0, BigInt(prompt.expiresAt / 1000));
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', utf8(screen)));
  return join(field(prompt.payment), digest, field(phone), new Uint8Array(seconds.buffer));
}

/**
 * Seals 3 to 8 digits to the issuer.
 * @param key one of `ecard code keys --json`: its number and its point, uncompressed, in hexadecimal
 * @param form `compact` or `uncompressed`
 * @returns base64url: key id (1) ‖ encapsulated key (32 or 65) ‖ ciphertext ‖ tag (16)
 */
export async function seal(code, key, form, associated) {
  const { kem, written } = forms[form];
  const point = Uint8Array.from(key.publicKey.match(/../g), (byte) => parseInt(byte, 16));
  const curve = { name: 'ECDH', namedCurve: 'P-256' };
  // A point that is not on the curve is refused here.
  const recipient = await crypto.subtle.importKey('raw', point, curve, true, []);
  const own = await crypto.subtle.generateKey(curve, false, ['deriveBits']);
  const encapsulated = written(new Uint8Array(await crypto.subtle.exportKey('raw', own.publicKey)));
  const agreed = await crypto.subtle.deriveBits({ name: 'ECDH', public: recipient }, own.privateKey, 256);

  const encapsulation = join(utf8('KEM'), two(kem));
  const shared = await expand(
    encapsulation, await extract(encapsulation, none, 'eae_prk', new Uint8Array(agreed)), 'shared_secret',
    join(encapsulated, written(point)), 32);

  const suite = join(utf8('HPKE'), two(kem), two(0x0001), two(0x0001));
  const context = join(
    Uint8Array.of(0x00), await extract(suite, none, 'psk_id_hash', none),
    await extract(suite, none, 'info_hash', utf8('ecard code 1')));
  const secret = await extract(suite, shared, 'secret', none);
  const bytes = await expand(suite, secret, 'key', context, 16);
  const aead = await crypto.subtle.importKey('raw', bytes, 'AES-GCM', false, ['encrypt']);
  const iv = await expand(suite, secret, 'base_nonce', context, 12);
  const sealed = await crypto.subtle.encrypt({ name: 'AES-GCM', iv, additionalData: associated }, aead, utf8(code));
  const text = btoa(String.fromCharCode(key.key, ...encapsulated, ...new Uint8Array(sealed)));
  return text.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

// RFC 9180, 4: LabeledExtract and LabeledExpand, the latter of at most one block of the hash.

function extract(suite, salt, label, material) {
  // WebCrypto takes no empty key; HMAC fills keys with zeros, so this one is the same.
  return hmac(salt.length ? salt : new Uint8Array(32), join(utf8('HPKE-v1'), suite, utf8(label), material));
}

async function expand(suite, key, label, info, length) {
  const block = await hmac(key, join(two(length), utf8('HPKE-v1'), suite, utf8(label), info, Uint8Array.of(1)));
  return block.slice(0, length);
}

async function hmac(bytes, message) {
  const key = await crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  return new Uint8Array(await crypto.subtle.sign('HMAC', key, message));
}
