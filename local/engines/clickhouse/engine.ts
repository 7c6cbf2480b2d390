import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tryResolveLibchdb } from 'chdb/libchdb';
import type { ClickHouseAddress, S3Address } from '../addresses.ts';
import { local } from '../credentials.ts';
import type { EngineDefinition } from '../engine.ts';
import { EngineFailure } from '../failure.ts';
import { serverConfig } from './config.ts';
import type { ClickHouseOptions } from './process.ts';
import { usersConfig } from './users.ts';

export function localClickHouse(httpPort: number): ClickHouseAddress {
  return { url: `http://127.0.0.1:${httpPort}`, ...local.clickhouse, storagePolicy: 'tiered' };
}

type ClickHousePlace = {
  dataDir: string;
  logFile: string;
  httpPort: number;
  tcpPort: number;
  s3: S3Address;
};

export function clickhouseEngine({ dataDir, logFile, httpPort, tcpPort, s3 }: ClickHousePlace): EngineDefinition {
  requireLibrary();
  const dir = join(dataDir, 'clickhouse');
  mkdirSync(join(dir, 'store'), { recursive: true });
  const configFile = join(dir, 'config.xml');
  const usersFile = join(dir, 'users.xml');
  const { writer, reader } = local.clickhouse;
  writeFileSync(usersFile, usersConfig(writer, reader), { mode: 0o600 });
  writeFileSync(
    configFile,
    serverConfig({ logFile, usersFile, cold: { ...s3, endpoint: `${s3.endpoint}/${s3.bucket}/cold/` } }),
    { mode: 0o600 },
  );
  const { url } = localClickHouse(httpPort);
  const options: ClickHouseOptions = { configFile, dataDir: join(dir, 'store'), httpPort, tcpPort, stopper: writer };
  return {
    name: 'clickhouse',
    url,
    script: join(import.meta.dirname, 'process.ts'),
    options,
    ask: async () => {
      const response = await fetch(url, {
        method: 'POST',
        // A kept connection would be one that the server waits for when it is to stop.
        headers: { 'X-ClickHouse-User': writer.user, 'X-ClickHouse-Key': writer.password, connection: 'close' },
        body: 'SELECT 1',
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
      'It exists for Linux (x64 and arm64, glibc) and macOS. There: run npm ci again without --omit=optional. ' +
      'Elsewhere: set LOCAL_CLICKHOUSE_URL to a ClickHouse server that runs already.',
  );
}
