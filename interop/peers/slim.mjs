// A SLIM connection in a browser: one WebSocket, its link with header MAC, subscriptions and publishes. Sessions are in
// participant.mjs. Numbers of fields are those of data_plane.proto.

export const utf8 = new TextEncoder();
export const text = new TextDecoder();
const VERSION = '3.4.6';
const NULL_ID = (1n << 64n) - 1n; // of both halves: any instance

// Protobuf, as far as it is needed here: varints, and what has a length.

function varint(n) {
  const out = [];
  for (n = BigInt(n); n > 127n; n >>= 7n) out.push(Number(n & 127n) | 128);
  return [...out, Number(n)];
}

export function join(...parts) {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    out.set(p, at);
    at += p.length;
  }
  return out;
}

export const number = (field, n) => Uint8Array.from([...varint(field << 3), ...varint(n)]);
export const block = (field, b) => join(varint((field << 3) | 2), varint(b.length), b);
export const string = (field, s) => block(field, utf8.encode(s));

// parse returns the fields of a message by number, the last of each: a BigInt, or bytes.
export function parse(b) {
  const fields = {};
  let at = 0;
  const next = () => {
    let n = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const x = b[at++];
      n |= BigInt(x & 127) << shift;
      if (x < 128) return n;
    }
  };
  while (at < b.length) {
    const tag = Number(next());
    if ((tag & 7) === 0) {
      fields[tag >> 3] = next();
    } else if ((tag & 7) === 2) {
      const n = Number(next());
      fields[tag >> 3] = b.subarray(at, at + n);
      at += n;
    } else {
      throw new Error(`wire type ${tag & 7}`);
    }
  }
  return fields;
}

// Names. A component is hashed by XXH64 with a byte 0xff behind it.

const MASK = (1n << 64n) - 1n;
const [P1, P2, P3, P4, P5] =
  [0x9e3779b185ebca87n, 0xc2b2ae3d27d4eb4fn, 0x165667b19e3779f9n, 0x85ebca77c2b2ae63n, 0x27d4eb2f165667c5n];
const rotate = (x, n) => ((x << n) | (x >> (64n - n))) & MASK;

function xxh64(b) {
  const v = new DataView(b.buffer, b.byteOffset, b.length);
  const round = (acc, x) => (rotate((acc + x * P2) & MASK, 31n) * P1) & MASK;
  let at = 0;
  let h = P5;
  if (b.length >= 32) {
    const acc = [(P1 + P2) & MASK, P2, 0n, (MASK + 1n - P1) & MASK];
    for (; at + 32 <= b.length; at += 32) {
      for (let i = 0; i < 4; i++) acc[i] = round(acc[i], v.getBigUint64(at + 8 * i, true));
    }
    h = (rotate(acc[0], 1n) + rotate(acc[1], 7n) + rotate(acc[2], 12n) + rotate(acc[3], 18n)) & MASK;
    for (const a of acc) h = ((h ^ round(0n, a)) * P1 + P4) & MASK;
  }
  h = (h + BigInt(b.length)) & MASK;
  for (; at + 8 <= b.length; at += 8) h = (rotate(h ^ round(0n, v.getBigUint64(at, true)), 27n) * P1 + P4) & MASK;
  if (at + 4 <= b.length) {
    h = (rotate(h ^ ((BigInt(v.getUint32(at, true)) * P1) & MASK), 23n) * P2 + P3) & MASK;
    at += 4;
  }
  for (; at < b.length; at++) h = (rotate(h ^ ((BigInt(b[at]) * P5) & MASK), 11n) * P1) & MASK;
  h = ((h ^ (h >> 33n)) * P2) & MASK;
  h = ((h ^ (h >> 29n)) * P3) & MASK;
  return h ^ (h >> 32n);
}

// name is org/ns/app as bytes; without id it means any instance.
export function name(path, hi = NULL_ID, lo = NULL_ID) {
  const parts = path.split('/');
  const hashes = parts.map((p, i) => number(i + 1, xxh64(join(utf8.encode(p), [0xff]))));
  const id = block(4, join(number(1, hi), number(2, lo)));
  return join(block(1, join(...hashes, id)), block(2, join(...parts.map((p, i) => string(i + 1, p)))));
}

// The header MAC.

function little(n, size) {
  const b = new DataView(new ArrayBuffer(size));
  if (size === 4) b.setUint32(0, Number(n), true);
  else b.setBigUint64(0, n, true);
  return new Uint8Array(b.buffer);
}

const counted = (b) => join(little(b.length, 4), b);

function signedName(b) {
  if (!b) return [0];
  const { 1: encoded, 2: strings } = parse(b);
  const out = [[1]];
  if (encoded) {
    const e = parse(encoded);
    out.push([1], ...[1, 2, 3].map((i) => little(e[i] ?? 0n, 8)));
    if (e[4]) out.push([1], ...[1, 2].map((i) => little(parse(e[4])[i] ?? 0n, 8)));
    else out.push([0]);
  } else {
    out.push([0]);
  }
  if (strings) {
    const s = parse(strings);
    out.push([1], ...[1, 2, 3].map((i) => counted(s[i] ?? [])));
  } else {
    out.push([0]);
  }
  return join(...out);
}

// Of recv_from and forward_to, which no other node may say, the absence is signed.
function preimage(linkID, header) {
  const h = parse(header);
  const failed = h[10] === undefined ? [0] : [1, Number(h[10])];
  return join(utf8.encode('SLIM-DP-HDR-v1\0'), counted(utf8.encode(linkID)), signedName(h[1]), signedName(h[2]),
    counted(h[3] ?? []), little(h[4] ?? 0n, 4), [0], [0], failed, little(h[6] ?? 0n, 4));
}

// Slim is a connection to a node.
export class Slim {
  received = []; // payloads of publishes whose MAC was right, as text
  forged = 0; // publishes whose MAC was wrong
  acks = new Map();
  waiting = [];
  lastID = 0;
  work = Promise.resolve(); // what came is taken, and what goes is sent, in order

  static async connect(url, nodeID) {
    const s = new Slim();
    s.socket = new WebSocket(url);
    s.socket.binaryType = 'arraybuffer';
    const opened = new Promise((done, fail) => {
      s.socket.onopen = done;
      s.socket.onerror = () => fail(new Error(`${url} is refused`));
    });
    s.closed = new Promise((done) => { s.socket.onclose = (e) => done({ code: e.code, reason: e.reason }); });
    s.closed.then((e) => s.waiting.forEach((w) => w.fail(new Error(`closed: ${e.code} ${e.reason}`))));
    await opened;
    await s.negotiate(nodeID);
    s.socket.onmessage = (e) => { s.work = s.work.then(() => s.take(new Uint8Array(e.data))); };
    return s;
  }

  async negotiate(nodeID) {
    this.linkID = crypto.randomUUID();
    const pair = await crypto.subtle.generateKey({ name: 'X25519' }, false, ['deriveBits']);
    const own = new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey));
    const reply = new Promise((done, fail) => {
      this.socket.onmessage = (e) => done(new Uint8Array(e.data));
      this.waiting.push({ fail });
    });
    const EDGE = 2;
    this.socket.send(block(5, block(1, join(string(1, this.linkID), string(2, VERSION), block(4, own), number(5, EDGE),
      string(6, nodeID)))));
    const r = parse(parse(parse(await reply)[5])[1]);
    if (text.decode(r[1]) !== this.linkID || r[3] !== 1n || r[5] !== BigInt(EDGE)) throw new Error('not our link');
    this.node = text.decode(r[6]);
    const other = await crypto.subtle.importKey('raw', r[4], { name: 'X25519' }, false, []);
    const shared = await crypto.subtle.deriveBits({ name: 'X25519', public: other }, pair.privateKey, 256);
    const secret = await crypto.subtle.importKey('raw', shared, 'HKDF', false, ['deriveKey']);
    this.key = await crypto.subtle.deriveKey(
      { name: 'HKDF', hash: 'SHA-256', salt: utf8.encode(this.linkID), info: utf8.encode('SLIM-DP-inter-node-hmac-v1') },
      secret, { name: 'HMAC', hash: 'SHA-256', length: 256 }, false, ['sign', 'verify']);
  }

  // header is one of this application's, signed for its link; signature is that of the session, if there is one.
  async header(source, destination, identity = '', signature = undefined) {
    const FANOUT = 1;
    const TTL = 8;
    const h = join(block(1, source), block(2, destination), string(3, identity), number(4, FANOUT), string(5, VERSION), number(6, TTL));
    const mac = await crypto.subtle.sign('HMAC', this.key, preimage(this.linkID, h));
    return join(h, block(11, new Uint8Array(mac)), signature ? block(12, signature) : []);
  }

  // subscribe returns when the node has confirmed.
  async subscribe(own) {
    const id = ++this.lastID;
    const answer = new Promise((done, fail) => {
      this.acks.set(id, { done, fail });
      this.waiting.push({ fail });
    });
    this.socket.send(block(1, join(block(1, await this.header(own, own)), number(2, id))));
    await answer;
  }

  // publish sends bytes.
  async publish(source, destination, payload) {
    const session = join(number(1, 1), number(2, 1), number(3, 7));
    const content = block(1, join(string(1, 'msg'), block(2, payload)));
    this.socket.send(block(3, join(block(1, await this.header(source, destination)), block(2, session), block(3, content))));
  }

  async take(b) {
    const m = parse(b);
    if (m[6]) {
      const a = parse(m[6]);
      const { done, fail } = this.acks.get(Number(a[1]));
      if (a[2] === 1n) done();
      else fail(new Error(text.decode(a[3])));
    } else if (m[3]) {
      const p = parse(m[3]);
      const h = parse(p[1]);
      if (!await crypto.subtle.verify('HMAC', this.key, h[11], preimage(this.linkID, p[1]))) {
        this.forged++;
        return;
      }
      await this.deliver(p);
    }
  }

  // deliver takes a publish, by its fields.
  deliver(p) {
    this.received.push(text.decode(parse(parse(p[3])[1])[2]));
    this.arrived?.();
  }

  // await returns the payloads that have come, once they are so many.
  async await(n) {
    while (this.received.length < n) {
      await new Promise((done, fail) => {
        this.arrived = done;
        this.waiting.push({ fail });
      });
    }
    return this.received;
  }

  async close() {
    this.socket.close(1000);
    return this.closed;
  }
}
