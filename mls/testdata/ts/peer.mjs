// Any number of clients on the npm package ts-mls, each in at most one group, driven by lines of JSON on standard input:
//
//   {"op": "commit", "who": "alice", "proposals": [{"keyPackage": "00010005..."}, {"remove": "bob"}]}
//
// Every line is answered by one: {"ok": {...}} or {"error": "..."}. Bytes are in hexadecimal. TS_MLS is the path of the
// package's index.js, outside of this repository.

import { ECDH } from 'node:crypto';
import { createInterface } from 'node:readline';

const mls = await import(process.env.TS_MLS);

const HOUR = 3600n;

const bytes = (text) => new Uint8Array(Buffer.from(text ?? '', 'hex'));
const hex = (b) => b && Buffer.from(b).toString('hex');
const utf8 = (text) => new TextEncoder().encode(text);

function encode(wireformat, field, value) {
  return hex(mls.encodeMlsMessage({ version: 'mls10', wireformat, [field]: value }));
}

function decode(text, ...wireformats) {
  const b = bytes(text);
  const [message, length] = mls.decodeMlsMessage(b, 0) ?? [];
  if (message === undefined) throw new Error('message does not decode');
  if (length !== b.length) throw new Error(`${b.length - length} bytes behind a message`);
  if (!wireformats.includes(message.wireformat)) throw new Error(`message is ${message.wireformat}, want ${wireformats}`);
  return message;
}

// Keys are vectors of up to 67 bytes: their length takes one byte or two (section 2.1.2).
const lengthOf = (key) => (key.length < 64 ? [key.length] : [0x40, key.length]);
const withLength = (key) => new Uint8Array([...lengthOf(key), ...key]);
const withoutLength = (vector) => vector.slice(vector[0] < 64 ? 1 : 2);

// The library names the types of the RFC, and has numbers for others.
const extensionName = (type) => Object.entries(mls.defaultExtensionTypes).find(([, number]) => number === type)?.[0] ?? type;

class Client {
  static operations = new Set(['keyPackage', 'create', 'join', 'joinExternal', 'info', 'propose', 'commit', 'learn', 'take', 'read', 'send',
    'state']);

  externalKeys = {};

  // keysOf is a client whose signature keys this one has as well, extensions are types that it supports.
  static async make({ name, suite, encrypt, keysOf, extensions }) {
    const client = new Client();
    const [suiteName] = Object.entries(mls.ciphersuites).find(([, number]) => number === suite);
    client.name = name; // its identity: clients that follow each other may have the same
    client.encrypt = encrypt; // proposals and commits are private messages
    client.capabilities = mls.defaultCapabilities();
    client.capabilities.extensions.push(...(extensions ?? []));
    client.suite = await mls.getCiphersuiteImpl(mls.getCiphersuiteFromName(suiteName));
    if (keysOf) {
      client.keys = clients.get(keysOf).keys;
      return client;
    }
    client.keys = await client.suite.signature.keygen();
    if (suite === 2) {
      // ts-mls makes a compressed point; section 5.1.1 asks for an uncompressed one.
      client.keys.publicKey = bytes(ECDH.convertKey(client.keys.publicKey, 'prime256v1', undefined, 'hex', 'uncompressed'));
    }
    return client;
  }

  // use takes what a call of the library results in, and deletes what it says is to be deleted.
  use(result) {
    this.group = result.newState;
    result.consumed?.forEach(mls.zeroOutUint8Array);
    return result;
  }

  psks() {
    return mls.makePskIndex(this.group, this.externalKeys);
  }

  async makeKeyPackage() {
    const now = BigInt(Math.floor(Date.now() / 1000));
    // The library's default never ends; applications bound lifetimes (section 7.2).
    const lifetime = { notBefore: now - HOUR, notAfter: now + 24n * HOUR };
    this.package = await mls.generateKeyPackageWithKey({ credentialType: 'basic', identity: utf8(this.name) },
      this.capabilities, lifetime, [], this.keys, this.suite);
    return this.package;
  }

  async keyPackage() {
    const { publicPackage } = await this.makeKeyPackage();
    return { message: encode('mls_key_package', 'keyPackage', publicPackage) };
  }

  async create({ message }) {
    const { publicPackage, privatePackage } = await this.makeKeyPackage();
    this.group = await mls.createGroup(bytes(message), publicPackage, privatePackage, [], this.suite);
  }

  async join({ message }) {
    const { welcome } = decode(message, 'mls_welcome');
    const { publicPackage, privatePackage } = this.package;
    this.group = await mls.joinGroup(welcome, publicPackage, privatePackage, this.psks(), this.suite);
  }

  // changed is the suite with some functions of its HPKE changed.
  changed(hpke) {
    return { ...this.suite, hpke: { ...this.suite.hpke, ...hpke } };
  }

  async joinExternal({ message }) {
    const { groupInfo } = decode(message, 'mls_group_info');
    // ts-mls takes the whole of external_pub for the key, which stands in it with its length (section 12.4.3.2).
    const external = groupInfo.extensions.find((e) => e.extensionType === 'external_pub')?.extensionData;
    const suite = this.changed({ importPublicKey: (key) => this.suite.hpke.importPublicKey(key === external ? withoutLength(key) : key) });
    const { publicPackage, privatePackage } = await this.makeKeyPackage();
    const { publicMessage } = this.use(await mls.joinGroupExternal(groupInfo, publicPackage, privatePackage, false, suite));
    return { message: encode('mls_public_message', 'publicMessage', publicMessage) };
  }

  async info() {
    // The same when it makes external_pub, the only key that it exports here.
    const suite = this.changed({ exportPublicKey: async (key) => withLength(await this.suite.hpke.exportPublicKey(key)) });
    const info = await mls.createGroupInfoWithExternalPubAndRatchetTree(this.group, [], suite);
    return { message: encode('mls_group_info', 'groupInfo', info) };
  }

  proposal({ keyPackage, remove, psk, epoch, extensions }) {
    if (keyPackage) return { proposalType: 'add', add: { keyPackage: decode(keyPackage, 'mls_key_package').keyPackage } };
    if (remove) return this.removal(remove);
    if (psk) return this.preSharedKey({ psktype: 'external', pskId: utf8(psk) });
    if (extensions) {
      return { proposalType: 'group_context_extensions', groupContextExtensions: { extensions: extensions.map(({ type, data }) => (
        { extensionType: extensionName(type), extensionData: bytes(data) })) } };
    }
    const { groupId } = this.group.groupContext;
    return this.preSharedKey({ psktype: 'resumption', usage: 'application', pskGroupId: groupId, pskEpoch: BigInt(epoch) });
  }

  preSharedKey(id) {
    const pskNonce = this.suite.rng.randomBytes(this.suite.kdf.size);
    return { proposalType: 'psk', psk: { preSharedKeyId: { ...id, pskNonce } } };
  }

  removal(name) {
    const at = this.group.ratchetTree.findIndex(
      (n) => n?.nodeType === 'leaf' && hex(n.leaf.credential.identity) === hex(utf8(name)));
    if (at < 0) throw new Error(`${this.name} sees no ${name}`);
    return { proposalType: 'remove', remove: { removed: at / 2 } };
  }

  // commit commits what waits, and proposals beside it by value.
  async commit({ proposals }) {
    const { commit, welcome } = this.use(await mls.createCommit(
      { state: this.group, cipherSuite: this.suite, pskIndex: this.psks() },
      { wireAsPublicMessage: !this.encrypt, ratchetTreeExtension: true, extraProposals: (proposals ?? []).map((p) => this.proposal(p)) }));
    return { message: hex(mls.encodeMlsMessage(commit)), welcome: welcome && encode('mls_welcome', 'welcome', welcome) };
  }

  async propose({ proposals }) {
    const { message } = this.use(await mls.createProposal(this.group, !this.encrypt, this.proposal(proposals[0]), this.suite));
    return { message: hex(mls.encodeMlsMessage(message)) };
  }

  learn({ name, message }) { this.externalKeys[mls.bytesToBase64(utf8(name))] = bytes(message); }

  async receive(message) {
    const m = decode(message, 'mls_public_message', 'mls_private_message');
    // Not processMessage, which gives private commits no pre-shared keys.
    const { message: text } = this.use(m.wireformat === 'mls_public_message'
      ? await mls.processPublicMessage(this.group, m.publicMessage, this.psks(), this.suite)
      : await mls.processPrivateMessage(this.group, m.privateMessage, this.psks(), this.suite));
    return { text, aad: m.privateMessage?.authenticatedData }; // the library verifies this one and does not return it
  }

  // take takes a proposal or commit of another member.
  async take({ message }) {
    const { text } = await this.receive(message);
    if (text !== undefined) throw new Error('message holds application data');
    return { removed: this.group.groupActiveState.kind === 'removedFromGroup' };
  }

  async read({ message }) {
    const { text, aad } = await this.receive(message);
    if (text === undefined) throw new Error('message holds no application data');
    return { text: hex(text), aad: hex(aad) };
  }

  async send({ text, aad }) {
    const { privateMessage } = this.use(
      await mls.createApplicationMessage(this.group, bytes(text), this.suite, bytes(aad)));
    return { message: encode('mls_private_message', 'privateMessage', privateMessage) };
  }

  async state() {
    const { groupContext, keySchedule } = this.group;
    const exported = await mls.mlsExporter(keySchedule.exporterSecret, 'label', utf8('context'), 32, this.suite);
    return { epoch: Number(groupContext.epoch), authenticator: hex(keySchedule.epochAuthenticator), exported: hex(exported) };
  }
}

const clients = new Map();

async function answer(request) {
  if (request.op === 'forget') {
    clients.clear();
    return {};
  }
  if (request.op === 'client') {
    clients.set(request.who, await Client.make(request));
    return {};
  }
  const client = clients.get(request.who);
  if (client === undefined) throw new Error(`no client ${request.who}`);
  if (!Client.operations.has(request.op)) throw new Error(`no operation ${request.op}`);
  return await client[request.op](request) ?? {};
}

for await (const line of createInterface({ input: process.stdin })) {
  let reply;
  try {
    reply = { ok: await answer(JSON.parse(line)) };
  } catch (e) {
    reply = { error: e?.message ? `${e.name}: ${e.message}` : String(e) };
  }
  process.stdout.write(JSON.stringify(reply) + '\n');
}
