// An application in a browser that takes part in sessions of two without MLS which others open: just enough of the
// session layer to be found, to join, to acknowledge and to answer "echo:" and what was said. It believes whom it hears,
// and repeats nothing. Identities are tokens of the shared secret; control messages are signed by its own key.

import { Slim, block, join, name, number, parse, string, text, utf8 } from './slim.mjs';

const SECRET = 'judge-shared-secret-0123456789-abcdefghij';
const [MSG, MSG_ACK, DISCOVERY_REQUEST, DISCOVERY_REPLY, JOIN_REQUEST, JOIN_REPLY, GROUP_WELCOME, GROUP_CLOSE, GROUP_ACK] =
  [1, 2, 5, 6, 7, 8, 12, 13, 15];
const POINT_TO_POINT = 1;

const base64 = (b) => btoa(String.fromCharCode(...new Uint8Array(b)));
const base64url = (b) => base64(b).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');

// der is an ECDSA signature, r and s side by side, as ASN.1 has it.
function der(raw) {
  const integer = (b) => {
    while (b.length > 1 && b[0] === 0) b = b.subarray(1);
    if (b[0] > 127) b = join([0], b);
    return join([2, b.length], b);
  };
  const both = join(integer(raw.subarray(0, 32)), integer(raw.subarray(32)));
  return join([0x30, both.length], both);
}

// long is bytes behind their length, as the signature of a payload has them.
function long(b) {
  const length = new DataView(new ArrayBuffer(8));
  length.setBigUint64(0, BigInt(b.length));
  return join(new Uint8Array(length.buffer), b);
}

export class Participant {
  heard = [];
  said = 0; // messages

  static async enter(url, path) {
    const p = new Participant();
    p.subject = `${path}_${crypto.randomUUID().slice(0, 8)}`;
    p.pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign']);
    p.secret = await crypto.subtle.importKey('raw', utf8.encode(SECRET), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
    p.name = name(path, 5n, 6n);
    p.slim = await Slim.connect(url, path);
    p.slim.deliver = (publish) => p.take(publish);
    await p.slim.subscribe(p.name);
    return p;
  }

  async token() {
    const key = base64(await crypto.subtle.exportKey('raw', this.pair.publicKey));
    const claims = base64url(utf8.encode(JSON.stringify({ pubkey: key })));
    const nonce = base64url(crypto.getRandomValues(new Uint8Array(12)));
    const body = `${this.subject}:${Math.floor(Date.now() / 1000)}:${nonce}:${claims}`;
    return `${body}:${base64url(await crypto.subtle.sign('HMAC', this.secret, utf8.encode(body)))}`;
  }

  async sign(b) {
    return der(new Uint8Array(await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, this.pair.privateKey, b)));
  }

  // answer sends a message of a session; a control message is signed, once with its header and once with its content.
  async answer(to, kind, session, id, content, control) {
    const identity = await this.token();
    let signature;
    let metadata = [];
    if (control) {
      const covered = join(number(1, 1), block(2, this.name), block(3, to), string(4, identity), number(5, POINT_TO_POINT),
        number(6, kind), number(7, session), number(8, id));
      signature = await this.sign(covered);
      const whole = base64(await this.sign(join(utf8.encode('slim-payload-v1'), long(covered), long(content))));
      metadata = block(4, join(string(1, 'slim-payload-sig'), string(2, whole)));
    }
    const about = join(number(1, POINT_TO_POINT), number(2, kind), number(3, session), number(4, id));
    const header = await this.slim.header(this.name, to, identity, signature);
    this.slim.socket.send(join(block(3, join(block(1, header), block(2, about), block(3, content))), metadata));
  }

  async take(p) {
    const from = parse(p[1])[1];
    const { 2: kind, 3: session, 4: id } = parse(p[2]);
    const command = (field, payload) => block(2, block(field, payload));
    switch (Number(kind)) {
      case DISCOVERY_REQUEST:
        return this.answer(from, DISCOVERY_REPLY, session, id, command(2, []), true);
      case JOIN_REQUEST: {
        const both = join(number(1, 1), number(2, 1)); // sends and receives
        return this.answer(from, JOIN_REPLY, session, id, command(4, block(2, join(block(1, this.name), block(2, both)))), true);
      }
      case GROUP_WELCOME:
      case GROUP_CLOSE:
        return this.answer(from, GROUP_ACK, session, id, command(11, []), true);
      case MSG: {
        const said = text.decode(parse(parse(p[3])[1])[2]);
        await this.answer(from, MSG_ACK, session, id, block(1, []), false);
        if (id === BigInt(this.heard.length + 1)) { // not again
          this.heard.push(said);
          const echo = block(1, join(string(1, 'msg'), string(2, `echo:${said}`)));
          await this.answer(from, MSG, session, ++this.said, echo, false);
        }
      }
    }
  }
}
