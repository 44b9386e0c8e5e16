// An application on the npm package @agntcy/slim-bindings that serves and makes calls: rpc.py, which says what it takes and prints, in
// Node.js. SLIM_BINDINGS is the path of the package's index.js.

import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';

const slim = await import(process.env.SLIM_BINDINGS);
const SECRET = 'judge-shared-secret-0123456789-abcdefghij';
const SERVICE = 'judge.Echo';

const { values: args } = parseArgs({
  options: { node: { type: 'string' }, client: { type: 'string' }, name: { type: 'string' }, serve: { type: 'boolean' } },
});

function emit(event, fields) {
  process.stdout.write(JSON.stringify({ event, ...fields }) + '\n');
}

function bytes(text) {
  const b = new TextEncoder().encode(text);
  return b.buffer.slice(b.byteOffset, b.byteOffset + b.byteLength);
}

const text = (b) => new TextDecoder().decode(b);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

// Codes as gRPC's documents write them.
const codeNames = new Map(Object.entries(slim.RpcCode).filter(([, v]) => typeof v === 'number').map(([name, v]) =>
  [v, name.replace(/([a-z])([A-Z])/g, '$1_$2').toUpperCase()]));

function codeOf(error) {
  const code = error?.inner?.code ?? error?.code;
  return codeNames.get(code) ?? String(error?.message ?? error);
}

// Of messages of streams "tag" says what they are.
const isEnd = (m) => m.tag === 'End';
function dataOf(m) {
  if (m.tag === 'Error') throw m.inner.error ?? m.inner[0];
  return m.inner.item ?? m.inner[0];
}

async function* read(next) {
  for (let m = await next(); !isEnd(m); m = await next()) yield dataOf(m);
}

const unary = (answer) => ({ handle: async (request, context) => bytes(await answer(text(request), context)) });

function serve(app, name) {
  const server = new slim.Server(app, name);
  server.registerUnaryUnary(SERVICE, 'Unary', unary((request) => 'echo:' + request));
  server.registerUnaryUnary(SERVICE, 'Empty', unary(() => ''));
  server.registerUnaryUnary(SERVICE, 'Fail', unary((request) => {
    throw new slim.RpcError.Rpc({ code: Number(request || '5'), message: 'no such thing', details: undefined });
  }));
  server.registerUnaryUnary(SERVICE, 'Slow', unary(async (request) => {
    await sleep(1000 * Number(request));
    return 'slept';
  }));
  server.registerUnaryUnary(SERVICE, 'Who', unary((_, context) => JSON.stringify({ metadata: Object.fromEntries(context.metadata()) })));
  server.registerUnaryStream(SERVICE, 'Down', {
    handle: async (request, context, sink) => {
      for (let i = 0; i < Number(text(request)); i++) await sink.sendAsync(bytes(`item ${i}`));
      await sink.closeAsync();
    },
  });
  server.registerStreamUnary(SERVICE, 'Up', {
    handle: async (stream) => {
      let items = 0, size = 0;
      for await (const b of read(() => stream.nextAsync())) [items, size] = [items + 1, size + b.byteLength];
      return bytes(`${items} items ${size} bytes`);
    },
  });
  server.registerStreamStream(SERVICE, 'Bidi', {
    handle: async (stream, context, sink) => {
      for await (const b of read(() => stream.nextAsync())) await sink.sendAsync(bytes('echo:' + text(b)));
      await sink.closeAsync();
    },
  });
  return server;
}

class Caller {
  constructor(app) {
    this.app = app;
  }

  channel(command) {
    const names = command.to.map((n) => slim.Name.fromString(n));
    // Cores before 3.0 set no route without a connection.
    return command.group ? slim.Channel.newGroupWithConnection(this.app, names, conn) : slim.Channel.newWithConnection(this.app, names[0], conn);
  }

  async call(c, command, signal) {
    const one = command.call === 'unary' || command.call === 'server-stream';
    const payloads = command.size ? [bytes('x'.repeat(command.size))] : (command.payloads ?? (one ? [''] : [])).map(bytes);
    const what = [SERVICE, command.method];
    const rest = [1000 * (command.timeout ?? 60), command.metadata ? new Map(Object.entries(command.metadata)) : undefined];
    if (command.group) return this.group(c, command.call, what, payloads, rest);
    if (command.call === 'unary') return [text(await c.callUnaryAsync(...what, payloads[0], ...rest, signal && { signal }))];
    if (command.call === 'client-stream') {
      const w = c.callStreamUnary(...what, ...rest);
      for (const p of payloads) await w.sendAsync(p);
      return [text(await w.finalizeStreamAsync())];
    }
    const texts = [];
    if (command.call === 'server-stream') {
      const r = await c.callUnaryStreamAsync(...what, payloads[0], ...rest);
      for await (const b of read(() => r.nextAsync())) texts.push(text(b));
      return texts;
    }
    const s = c.callStreamStream(...what, ...rest);
    for (const p of payloads) await s.sendAsync(p);
    await s.closeSendAsync();
    for await (const b of read(() => s.recvAsync())) texts.push(text(b));
    return texts;
  }

  async group(c, kind, what, payloads, rest) {
    let next;
    if (kind === 'client-stream' || kind === 'bidi') {
      const s = kind === 'bidi' ? c.callMulticastStreamStream(...what, ...rest) : c.callMulticastStreamUnary(...what, ...rest);
      for (const p of payloads) await s.sendAsync(p);
      await s.closeSendAsync();
      next = () => s.recvAsync();
    } else {
      const r = kind === 'unary' ? await c.callMulticastUnaryAsync(...what, payloads[0], ...rest)
        : await c.callMulticastUnaryStreamAsync(...what, payloads[0], ...rest);
      next = () => r.nextAsync();
    }
    const texts = [];
    for await (const item of read(next)) texts.push(`${item.context.source} ${text(item.message)}`);
    return texts;
  }

  async run(command) {
    let texts = [], failed = 0, code = '', left = command.repeat ?? 1;
    const c = this.channel(command);
    const lane = async () => {
      while (left-- > 0) {
        const signal = command.cancel ? AbortSignal.timeout(1000 * command.cancel) : undefined;
        try {
          texts = await this.call(c, command, signal);
        } catch (e) {
          failed++;
          code = signal?.aborted ? 'CANCELLED' : codeOf(e);
        }
      }
    };
    await Promise.all(Array.from({ length: command.parallel ?? 1 }, lane));
    if (command.cancel) texts = await this.call(c, { ...command, method: 'Unary', payloads: ['after'] });
    await c.closeAsync(5000);
    if (command.size) texts = texts.map((t) => `${t.length} bytes`);
    emit('result', { tag: command.tag, ok: true, texts, failed, code });
  }
}

slim.initializeWithConfigs(
  slim.newRuntimeConfig(),
  slim.newTracingConfigWith('error', false, false, []),
  [slim.newServiceConfig()],
);
const service = slim.getGlobalService();
const conn = await service.connectAsync(args.client ? slim.newConfigFromJson(args.client) : slim.newInsecureClientConfig(args.node));
const name = slim.Name.fromString(args.name);
const app = service.createAppWithSecret(name, SECRET);
await app.subscribeAsync(name, conn);
if (args.serve) {
  serve(app, name).serveAsync().catch((e) => emit('error', { what: 'serve', error: codeOf(e) }));
  await sleep(200); // until it is subscribed: nothing says so
}
emit('ready', { name: args.name, id: app.id(), version: slim.getVersion(), pid: process.pid });
const caller = new Caller(app);
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  caller.run(command).catch((e) => emit('result', { tag: command.tag, ok: false, failed: 1, code: codeOf(e) }));
}
process.exit(0);
