import { createServer } from 'node:net';
import { EngineFailure, type EngineName } from './failure.ts';

export type Ports = {
  clickhouseHttp: number;
  clickhouseTcp: number;
  redis: number;
  upstash: number;
  postgres: number;
  neon: number;
  s3: number;
};

/** Where a node of a ClickHouse cluster listens: for clients, and for the other nodes behind a gate. */
export type NodePorts = { http: number; tcp: number; gate: number };

/** Ports from 1024 on that `fetch` and browsers connect to never ("bad port" in the WHATWG's Fetch Standard). */
export const portsFetchRefuses = new Set([
  1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10_080,
]);

const engineOfPort = {
  clickhouseHttp: 'clickhouse',
  clickhouseTcp: 'clickhouse',
  redis: 'redis',
  upstash: 'upstash',
  postgres: 'postgres',
  neon: 'postgres',
  s3: 's3',
} as const satisfies Record<keyof Ports, EngineName>;

/** The seven ports base+0 … base+6, in the order of the type. */
export function portsFrom(base: number): Ports {
  if (!Number.isInteger(base) || base < 1 || base > 65_535 - 6) {
    throw new RangeError(`LOCAL_PORT_BASE must be a whole number from 1 to ${65_535 - 6}, not ${base}.`);
  }
  return {
    clickhouseHttp: base,
    clickhouseTcp: base + 1,
    redis: base + 2,
    upstash: base + 3,
    postgres: base + 4,
    neon: base + 5,
    s3: base + 6,
  };
}

/** The ports of all nodes of a cluster: the first has those of a server by itself, the others come after the eight of one stack. */
export function nodePortsFrom(base: number, nodes: number): NodePorts[] {
  const { clickhouseHttp, clickhouseTcp } = portsFrom(base);
  return Array.from({ length: nodes }, (_, i) => {
    const next = base + 8 + 3 * i;
    return { http: i === 0 ? clickhouseHttp : next, tcp: i === 0 ? clickhouseTcp : next + 1, gate: next + 2 };
  });
}

/** The same on ports that nobody listens on right now. */
export async function freeNodePorts({ clickhouseHttp, clickhouseTcp }: Ports, nodes: number): Promise<NodePorts[]> {
  const holds = await Promise.all(Array.from({ length: 3 * nodes }, holdAnyPort));
  await Promise.all(holds.map((held) => held.release()));
  const port = (i: number) => holds[i]?.port ?? 0;
  return Array.from({ length: nodes }, (_, i) => ({
    http: i === 0 ? clickhouseHttp : port(3 * i),
    tcp: i === 0 ? clickhouseTcp : port(3 * i + 1),
    gate: port(3 * i + 2),
  }));
}

/**
 * Seven ports that nobody listens on right now, below those that the system gives to outgoing connections: one of
 * these could be taken again before an engine has it. All are held until the last one is known, so they differ.
 */
export async function freePorts(): Promise<Ports> {
  const names = Object.keys(engineOfPort) as (keyof Ports)[];
  const holds = await Promise.all(names.map(holdAnyPort));
  await Promise.all(holds.map((held) => held.release()));
  return Object.fromEntries(names.map((name, at) => [name, holds[at]?.port])) as Ports;
}

/** Throws for the first of these ports that somebody else has. */
export async function requireFreePorts(ports: Ports, names: (keyof Ports)[], nodes: NodePorts[]): Promise<void> {
  const wanted = [
    ...names.map((name) => [engineOfPort[name], ports[name], name] as const),
    ...nodes.flatMap(({ http, tcp, gate }, i) => {
      const own = i === 0 ? [gate] : [http, tcp, gate];
      return own.map((port) => ['clickhouse', port, `node ${i + 1}`] as const);
    }),
  ];
  for (const [engine, port, name] of wanted) {
    try {
      const held = await hold(port);
      await held.release();
    } catch (error) {
      throw new EngineFailure(
        engine,
        `port ${port} (${name}) on 127.0.0.1 cannot be used: ${(error as NodeJS.ErrnoException).code ?? error}. ` +
          'Stop the program that has it, or choose other ports with LOCAL_PORT_BASE ' +
          '(and another LOCAL_DATA_DIR to run a second stack beside the first).',
        { cause: error },
      );
    }
  }
}

type Held = { port: number; release(): Promise<void> };

async function holdAnyPort(): Promise<Held> {
  for (;;) {
    const held = await hold(10_000 + Math.floor(Math.random() * 22_000)).catch(() => undefined);
    if (held) return held;
  }
}

function hold(port: number): Promise<Held> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      resolve({ port, release: () => new Promise((done) => server.close(() => done())) });
    });
  });
}
