import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll } from 'vitest';

export type Asked = { path: string; headers: IncomingHttpHeaders; text: string };

type Batch = {
  datasetName: string;
  tableName: string;
  schema: { fields: { name: string; type: string }[] };
  partition: { key?: Record<string, string>; timeRange: { start: string; end: string } };
  rows: Record<string, unknown>[];
  idempotencyKey: string;
};

/** What may become of a request: the connection breaks before or after its effect, or it is answered with a status. */
export type Fate = 'before' | 'after' | { status: number; headers?: Record<string, string>; body?: object };

/** The system that datasets are taken over from: keeps what it takes, each key once, and answers queries as it is told. */
export class Origin {
  url = '';
  readonly asked: Asked[] = [];
  /** Batches in the order in which they were taken. */
  readonly batches: Batch[] = [];
  /** What becomes of a batch; undefined for nothing out of the ordinary. */
  fateOf: (batch: Batch) => Fate | undefined = () => undefined;
  answer: (asked: Asked, response: ServerResponse) => unknown = (_, response) => response.writeHead(404).end();
  readonly #texts = new Map<string, string>();

  /** Rows that it has of a table, with the partition key that they came with, in the order in which they came. */
  rowsOf(dataset: string, table = 'm'): Record<string, unknown>[] {
    return this.batches
      .filter(({ datasetName, tableName }) => datasetName === dataset && tableName === table)
      .flatMap(({ rows, partition }) => rows.map((row) => ({ ...row, ...(partition.key && { key: partition.key }) })));
  }

  handle(asked: Asked, response: ServerResponse): void {
    this.asked.push(asked);
    if (!asked.path.endsWith('/ingest')) return void this.answer(asked, response);
    const batch = JSON.parse(asked.text) as Batch;
    const fate = this.fateOf(batch);
    if (fate === 'before') return void response.destroy();
    if (typeof fate === 'object') {
      response.writeHead(fate.status, { 'content-type': 'application/problem+json', ...fate.headers });
      return void response.end(JSON.stringify(fate.body ?? {}));
    }
    const known = this.#texts.get(batch.idempotencyKey);
    if (known !== undefined && known !== asked.text) {
      response.writeHead(422, { 'content-type': 'application/problem+json' });
      return void response.end(JSON.stringify({ type: 'urn:original:key-reused' }));
    }
    if (known === undefined) {
      this.#texts.set(batch.idempotencyKey, asked.text);
      this.batches.push(batch);
    }
    if (fate === 'after') return void response.destroy();
    response.writeHead(202, { 'content-type': 'application/json' }).end('{"mode":"queued"}');
  }
}

export const originKey = 'a-key-of-the-original';

/** One on a port of its own, for all tests of a file. */
export function useOrigin(): Origin {
  const origin = new Origin();
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      if (request.headers.authorization !== `Bearer ${originKey}`) return void response.writeHead(401).end();
      const { url: path = '', headers } = request;
      origin.handle({ path, headers, text: Buffer.concat(parts).toString() }, response);
    });
  });
  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    origin.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });
  return origin;
}

/** The environment of a deployment that takes datasets over from it. */
export const knowing = ({ url }: Pick<Origin, 'url'>): Record<string, string> => ({
  TIMESTORE_ORIGIN_URL: url,
  TIMESTORE_ORIGIN_KEY: originKey,
});
