// The 96 bytes whose SHA-256 is a block's hash, cut into their fields.

export const FIELDS = [
  { name: 'version', bytes: 4 },
  { name: 'difficulty', bytes: 4 },
  { name: 'index', bytes: 8 },
  { name: 'timestamp', bytes: 8 },
  { name: 'previous hash', bytes: 32 },
  { name: 'hash of data', bytes: 32 },
  { name: 'nonce', bytes: 8 },
];

/** [{ name, hex }], or null if the header does not have the length this page knows. */
export function splitHeader(hex) {
  const total = FIELDS.reduce((sum, field) => sum + field.bytes, 0);
  if (typeof hex !== 'string' || hex.length !== total * 2 || !/^[0-9a-f]*$/.test(hex)) return null;
  let at = 0;
  return FIELDS.map(({ name, bytes }) => {
    const part = hex.slice(at, at + bytes * 2);
    at += bytes * 2;
    return { name, hex: part };
  });
}

/** How many hex digits at the head of a hash are zero because the difficulty asks for it (the last one in part). */
export function zeroDigits(difficulty) {
  return Math.max(0, Math.ceil(difficulty / 4));
}

/** Three lines of Python that compute the hash anew from what the block shows. */
export function pythonLines(header) {
  return `import hashlib\nheader = bytes.fromhex("${header}")\nprint(hashlib.sha256(header).hexdigest())`;
}
