import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tryResolveLibchdb } from 'chdb/libchdb';
import type { ClickHouseAddress, S3Address } from '../addresses.ts';
import { local } from '../credentials.ts';
import type { EngineDefinition } from '../engine.ts';
import { EngineFailure } from '../failure.ts';
import type { NodePorts } from '../ports.ts';
import { serverConfig } from './config.ts';
import type { ClickHouseOptions } from './process.ts';
import { usersConfig } from './users.ts';

const urlOf = (httpPort: number) => `http://127.0.0.1:${httpPort}`;

/** @param nodes HTTP ports of the nodes of a cluster, one shard each */
export function localClickHouse(httpPort: number, nodes: number[]): ClickHouseAddress {
  const { writer, reader } = local.clickhouse;
  const shards = nodes.length === 0 ? undefined : nodes.map(urlOf);
  return { url: urlOf(httpPort), writer, reader, storagePolicy: 'tiered', shards };
}

type ClickHousePlace = {
  dataDir: string;
  logFile: string;
  httpPort: number;
  tcpPort: number;
  s3: S3Address;
  /** Number of this node, from 1, and the ports of all nodes; empty for a single server. */
  node: number;
  nodes: NodePorts[];
};

export function clickhouseEngine(place: ClickHousePlace): EngineDefinition {
  const { dataDir, logFile, httpPort, tcpPort, s3, node, nodes } = place;
  const gatePort = nodes[node - 1]?.gate;
  // A node addresses itself by its listening port, so that queries on its own rows need no connection.
  const shards = nodes.map(({ tcp, gate }, i) => (i === node - 1 ? tcp : gate));
  requireLibrary();
  const dir = join(dataDir, node === 1 ? 'clickhouse' : `clickhouse-${node}`);
  mkdirSync(join(dir, 'store'), { recursive: true });
  const configFile = join(dir, 'config.xml');
  const usersFile = join(dir, 'users.xml');
  const { writer } = local.clickhouse;
  writeFileSync(usersFile, usersConfig(local.clickhouse), { mode: 0o600 });
  writeFileSync(
    configFile,
    serverConfig({
      logFile,
      usersFile,
      shards,
      tcpPort,
      cold: { ...s3, endpoint: `${s3.endpoint}/${s3.bucket}/cold/${node === 1 ? '' : `${node}/`}` },
    }),
    { mode: 0o600 },
  );
  const url = urlOf(httpPort);
  const options: ClickHouseOptions = {
    configFile,
    dataDir: join(dir, 'store'),
    httpPort,
    tcpPort,
    gatePort,
    stopper: writer,
  };
  return {
    name: 'clickhouse',
    url,
    script: join(import.meta.dirname, 'process.ts'),
    options,
    probe: async (signal) => {
      const response = await fetch(url, {
        method: 'POST',
        // The server waits for open connections when it stops, so this one is closed.
        headers: { 'X-ClickHouse-User': writer.user, 'X-ClickHouse-Key': writer.password, connection: 'close' },
        body: 'SELECT 1',
        signal,
      });
      const answer = await response.text();
      if (answer !== '1\n') throw new Error(`HTTP ${response.status} ${answer.slice(0, 200)}`);
    },
  };
}

function requireLibrary(): void {
  if (tryResolveLibchdb()) return;
  throw new EngineFailure(
    'clickhouse',
    `libchdb, the ClickHouse server as a library, is not installed for ${process.platform} ${process.arch}. ` +
      'It is available for Linux (x64 and arm64, glibc) and macOS: there, run npm ci again without --omit=optional. ' +
      'On other platforms, set LOCAL_CLICKHOUSE_URL to a running ClickHouse server.',
  );
}
