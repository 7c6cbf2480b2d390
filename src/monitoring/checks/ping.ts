import { ApiError } from '../../core/errors.ts';
import { ingestRows } from '../../ingest/ingest.ts';
import { currentConfig } from '../config-cache.ts';
import type { MonitoringDeps } from '../deps.ts';
import { statusCodes } from '../status.ts';
import { findPingOwner } from './ping-token.ts';

/** What a ping says: the end of a run with its exit status, its start, its failure, or a text only. */
export type Signal = 'success' | 'start' | 'fail' | 'log' | number;

/** The last part of a ping's path. Undefined for any other text. */
export function parseSignal(text: string | undefined): Signal | undefined {
  if (text === undefined) return 'success';
  if (text === 'start' || text === 'fail' || text === 'log') return text;
  return /^(?:\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])$/.test(text) ? Number(text) : undefined;
}

export type Ping = {
  tokenHash: string;
  signal: Signal;
  /** Names the run, so that a repeated ping counts once. */
  runId: string | undefined;
  requestId: string;
  /** Text of the request, without what is beyond its limit. */
  body: string;
};

/**
 * Stores a ping: a row of the service's status, except for `log`, and a row of its log if it has a text. A repeated ping of a run
 * adds nothing.
 *
 * @returns false for a token without a service
 * @throws StoreError; ApiError if the dataset cannot take the rows
 */
export async function recordPing(
  ctx: MonitoringDeps,
  { tokenHash, signal, runId, requestId, body }: Ping,
): Promise<boolean> {
  const owner = await findPingOwner(ctx, tokenHash);
  if (owner === undefined) return false;
  const { dataset, serviceId } = owner;
  const service = (await currentConfig(ctx, dataset)).services.get(serviceId);
  if (service === undefined) return false;
  if (!service.enabled) return true;
  const timestamp = new Date(ctx.now()).toISOString();
  const { code, message, name } = meaningOf(signal);
  const run = runId === undefined ? {} : { runId };
  const key = `hb/${tokenHash}/${runId ?? requestId}/${name}`;
  if (signal !== 'log') {
    await storeOnce(ctx, dataset, 'service_status', key, {
      service_id: serviceId,
      timestamp,
      status_code: code,
      message,
      service_type: service.serviceType,
      stack: service.stack,
      details: { signal: name, ...(typeof signal === 'number' && { exitStatus: signal }), ...run },
      source: 'heartbeat',
    });
  }
  if (body === '') return true;
  await storeOnce(ctx, dataset, 'service_logs', key, {
    service_id: serviceId,
    timestamp,
    log_level: code === statusCodes.failed ? 'ERROR' : 'INFO',
    message: body,
    source: 'heartbeat',
    context: { signal: name, ...run },
  });
  return true;
}

function meaningOf(signal: Signal): { code: number; message: string; name: string } {
  if (signal === 'success' || signal === 0) return { code: statusCodes.ok, message: 'OK', name: 'success' };
  if (signal === 'start') return { code: statusCodes.starting, message: 'Started', name: 'start' };
  if (signal === 'log') return { code: statusCodes.ok, message: '', name: 'log' };
  return { code: statusCodes.failed, message: 'The service reports a failure', name: 'fail' };
}

async function storeOnce(ctx: MonitoringDeps, dataset: string, table: string, key: string, row: object): Promise<void> {
  try {
    await ingestRows(ctx, { dataset, table, text: JSON.stringify(row), format: 'ndjson', idempotencyKey: key });
  } catch (error) {
    // An earlier ping of the run, with its own time.
    if (!(error instanceof ApiError && error.code === 'key-reused')) throw error;
  }
}
