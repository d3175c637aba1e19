"use strict";
// Looks for the numbers that solve a puzzle: for each part p, the least n for which SHA-256(seed | p | n) begins with as
// many zero bits as asked for. Own SHA-256, since asking WebCrypto once for each of many small hashes takes far longer;
// WebCrypto checks the result, where the browser has it.

var K = new Int32Array(64);
(function () {
  // Fractions of the cube roots of the first 64 primes.
  var primes = [], n = 2;
  while (primes.length < 64) {
    if (primes.every(function (p) { return n % p; })) { primes.push(n); }
    n += 1;
  }
  primes.forEach(function (p, i) {
    var root = Math.cbrt ? Math.cbrt(p) : Math.pow(p, 1 / 3);
    K[i] = Math.floor((root - Math.floor(root)) * 4294967296) | 0;
  });
})();
var START = new Int32Array([0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19]);
var W = new Int32Array(64);

// One block of 16 words in W, added to the state.
function compress(h) {
  var i, a, b, c, d, e, f, g, k, s, t, x, y;
  for (i = 16; i < 64; i += 1) {
    x = W[i - 15];
    y = W[i - 2];
    s = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    t = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    W[i] = (W[i - 16] + s + W[i - 7] + t) | 0;
  }
  a = h[0]; b = h[1]; c = h[2]; d = h[3]; e = h[4]; f = h[5]; g = h[6]; k = h[7];
  for (i = 0; i < 64; i += 1) {
    s = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    t = (k + s + ((e & f) ^ (~e & g)) + K[i] + W[i]) | 0;
    s = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    x = (s + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    k = g; g = f; f = e; e = (d + t) | 0; d = c; c = b; b = a; a = (t + x) | 0;
  }
  h[0] += a; h[1] += b; h[2] += c; h[3] += d; h[4] += e; h[5] += f; h[6] += g; h[7] += k;
}

function sha256(bytes) {
  var h = new Int32Array(START), length = bytes.length;
  var padded = new Uint8Array(((length + 9 + 63) >> 6) << 6), view = new DataView(padded.buffer), at, i;
  padded.set(bytes);
  padded[length] = 128;
  view.setUint32(padded.length - 4, length * 8);
  for (at = 0; at < padded.length; at += 64) {
    for (i = 0; i < 16; i += 1) { W[i] = view.getInt32(at + 4 * i); }
    compress(h);
  }
  return h;
}

function text(puzzle) {
  var bytes = new Uint8Array(puzzle.length), i;
  for (i = 0; i < puzzle.length; i += 1) { bytes[i] = puzzle.charCodeAt(i); }
  return bytes;
}

// The first word of SHA-256(seed | part | number): a message of 40 bytes, so one block.
var state = new Int32Array(8);
function first(seed, part, number) {
  var i;
  for (i = 0; i < 8; i += 1) { W[i] = seed[i]; state[i] = START[i]; }
  W[8] = part; W[9] = number; W[10] = 0x80000000 | 0;
  for (i = 11; i < 15; i += 1) { W[i] = 0; }
  W[15] = 320;
  compress(state);
  return state[0];
}

function solve(task) {
  var seed = sha256(text(task.puzzle)), numbers = [], part, number, shift = 32 - task.bits;
  for (part = 0; part < task.parts; part += 1) {
    number = 0;
    while (first(seed, part, number) >>> shift !== 0) { number += 1; }
    numbers.push(number);
    postMessage({ done: part + 1 });
  }
  return { seed: seed, numbers: numbers };
}

function check(found, bits) {
  if (typeof crypto === "undefined" || !crypto.subtle) { return Promise.resolve(true); }
  var message = new DataView(new ArrayBuffer(40)), i;
  for (i = 0; i < 8; i += 1) { message.setInt32(4 * i, found.seed[i]); }
  message.setUint32(32, 0);
  message.setUint32(36, found.numbers[0]);
  return crypto.subtle.digest("SHA-256", message.buffer).then(function (hash) {
    return new DataView(hash).getUint32(0) >>> (32 - bits) === 0;
  });
}

onmessage = function (event) {
  var found = solve(event.data);
  check(found, event.data.bits).then(function (right) {
    postMessage(right ? { numbers: found.numbers } : { failed: true });
  }, function () { postMessage({ numbers: found.numbers }); });
};
