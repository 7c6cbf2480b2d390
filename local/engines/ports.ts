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

/** Ports of a node of a ClickHouse cluster: for clients, and a gate for the other nodes. */
export type NodePorts = { http: number; tcp: number; gate: number };

/** Ports from 1024 on that `fetch` and browsers never connect to ("bad port" in the WHATWG's Fetch Standard). */
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

/** The seven ports base+0 … base+6, in the order of `Ports`. */
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

/** The ports of all nodes of a cluster. The first node has the ports of a single server; the others follow the eight of a stack. */
export function nodePortsFrom(base: number, nodes: number): NodePorts[] {
  const { clickhouseHttp, clickhouseTcp } = portsFrom(base);
  return Array.from({ length: nodes }, (_, i) => {
    const next = base + 8 + 3 * i;
    return { http: i === 0 ? clickhouseHttp : next, tcp: i === 0 ? clickhouseTcp : next + 1, gate: next + 2 };
  });
}

/** The ports of all nodes of a cluster, on free ports. */
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
 * Seven free ports below those that the system assigns to outgoing connections: such a connection could take a port before
 * its engine listens. All are held until the last one is known, so they differ.
 */
export async function freePorts(): Promise<Ports> {
  const names = Object.keys(engineOfPort) as (keyof Ports)[];
  const holds = await Promise.all(names.map(holdAnyPort));
  await Promise.all(holds.map((held) => held.release()));
  return Object.fromEntries(names.map((name, index) => [name, holds[index]?.port])) as Ports;
}

/** Throws an EngineFailure for the first of these ports that is in use. */
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
          'Stop the program that uses it, or choose other ports with LOCAL_PORT_BASE ' +
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
