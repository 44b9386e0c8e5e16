// A scriptable application on the npm package @agntcy/slim-bindings; commands and events as in peer.py,
// without "ask".
// SLIM_BINDINGS is the path of the package's index.js, outside of this repository.

import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';

const slim = await import(process.env.SLIM_BINDINGS);
const SECRET = 'judge-shared-secret-0123456789-abcdefghij';
const POLL_MS = 500;
const WAIT_MS = 30000; // for an acknowledgement: this core tells of none that it has given up
const IN_FLIGHT = 64; // messages at most

const { values: args } = parseArgs({
  options: { node: { type: 'string' }, client: { type: 'string' }, name: { type: 'string' }, echo: { type: 'boolean' } },
});

function emit(event, fields) {
  process.stdout.write(JSON.stringify({ event, ...fields }) + '\n');
}

function textOf(error) {
  return error?.inner?.message ?? error?.message ?? String(error);
}

function bytes(text) {
  const b = new TextEncoder().encode(text);
  return b.buffer.slice(b.byteOffset, b.byteOffset + b.byteLength);
}

class Peer {
  sessions = new Map(); // that go on, by number, the newest last

  async start() {
    slim.initializeWithConfigs(
      slim.newRuntimeConfig(),
      slim.newTracingConfigWith('error', false, false, []),
      [slim.newServiceConfig()],
    );
    this.service = slim.getGlobalService();
    const config = args.client ? slim.newConfigFromJson(args.client) : slim.newInsecureClientConfig(args.node);
    this.conn = await this.service.connectAsync(config);
    const name = slim.Name.fromString(args.name);
    this.app = this.service.createAppWithSecret(name, SECRET);
    await this.app.subscribeAsync(name, this.conn);
    emit('ready', { name: args.name, id: this.app.id(), version: slim.getVersion(), pid: process.pid });
    this.accept();
  }

  async accept() {
    for (;;) {
      try {
        this.adopt(await this.app.listenForSessionAsync(POLL_MS));
      } catch (e) {
        if (textOf(e).includes('timed out')) continue;
        emit('error', { what: 'listen', error: textOf(e) });
        return;
      }
    }
  }

  adopt(session) {
    const group = session.sessionType() === slim.SessionType.Group;
    const number = session.sessionId();
    this.sessions.set(number, session);
    emit('session', { session: number, kind: group ? 'group' : 'p2p', initiator: session.isInitiator() });
    this.read(session, number, group);
    return number;
  }

  async read(session, number, group) {
    for (;;) {
      let m;
      try {
        m = await session.getMessageAsync(POLL_MS);
      } catch (e) {
        const reason = textOf(e);
        if (reason.includes('receive timeout')) continue;
        if (reason.includes('participant disconnected')) {
          emit('left', { session: number, participant: reason });
          continue;
        }
        if (reason.includes('message lost') || reason.includes('retries')) { // the session goes on
          emit('error', { what: 'session', session: number, error: reason });
          continue;
        }
        this.sessions.delete(number);
        emit('left', { session: number, reason });
        return;
      }
      const text = new TextDecoder().decode(m.payload);
      emit('message', {
        session: number, text, size: m.payload.byteLength, from: m.context.sourceName.components().join('/'),
      });
      if (args.echo && !group && !session.isInitiator()) {
        await session.publishAsync(bytes('echo:' + text), undefined, undefined);
      }
    }
  }

  config(sessionType, command) {
    return {
      sessionType,
      maxRetries: command.unreliable ? undefined : command.retries ?? 4,
      interval: command.unreliable ? undefined : command.interval_ms ?? 5000,
      metadata: new Map(),
      mlsSettings: command.mls ? { headerIntegrityValidationPercent: 100 } : undefined,
    };
  }

  own(text) {
    return slim.Name.newWithId(...slim.Name.fromString(text).components(), this.app.id());
  }

  // run returns the number of the session that a command was about, if any.
  async run(command) {
    if (command.open) {
      const target = slim.Name.fromString(command.open);
      await this.app.setRouteAsync(target, this.conn);
      return this.adopt(await this.app.createSessionAndWaitAsync(this.config(slim.SessionType.PointToPoint, command), target));
    }
    if (command.group) {
      const target = slim.Name.fromString(command.group);
      return this.adopt(await this.app.createSessionAndWaitAsync(this.config(slim.SessionType.Group, command), target));
    }
    const number = command.session ?? [...this.sessions.keys()].at(-1);
    const session = this.sessions.get(number);
    if (command.invite) {
      const target = slim.Name.fromString(command.invite);
      await this.app.setRouteAsync(target, this.conn);
      await session.inviteAndWaitAsync(target);
    } else if (command.remove) {
      await session.removeAndWaitAsync(slim.Name.fromString(command.remove));
    } else if (command.publish) {
      await this.publish(session, command.publish, command.count, command.wait_ms ?? WAIT_MS);
    } else if (command.subscribe) {
      await this.app.subscribeAsync(slim.Name.fromString(command.subscribe), this.conn);
    } else if (command.unsubscribe) {
      await this.app.unsubscribeAsync(this.own(command.unsubscribe), this.conn);
    } else if (command.suspend) {
      await session.closeWithModeAndWaitAsync(slim.CloseMode.Soft);
    } else if (command.rejoin) {
      await session.rejoinAndWaitAsync();
    } else if (command.close || command.leave) {
      await this.app.deleteSessionAndWaitAsync(session);
    } else {
      throw new Error('unknown command');
    }
    return number;
  }

  async publish(session, text, count, wait) {
    const texts = count === undefined ? [text] : Array.from({ length: count }, (_, i) => `${text}#${i}`);
    const handles = [];
    for (const t of texts) {
      handles.push(await session.publishAsync(bytes(t), undefined, undefined));
      if (handles.length === IN_FLIGHT) await handles.shift().waitForAsync(wait);
    }
    for (const handle of handles) await handle.waitForAsync(wait);
  }
}

const peer = new Peer();
await peer.start();
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  try {
    const session = await peer.run(command);
    emit('result', { ok: true, tag: command.tag, session });
  } catch (e) {
    emit('result', { ok: false, error: textOf(e), tag: command.tag });
  }
}
process.exit(0);
