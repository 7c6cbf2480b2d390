import type { Context } from 'hono';
import * as z from 'zod';
import { ApiError } from '../../src/core/errors.ts';
import { checkNow } from '../../src/monitoring/checks/check-now.ts';
import { parseSignal, recordPing } from '../../src/monitoring/checks/ping.ts';
import { createPingToken, hashToken, isTokenKnown } from '../../src/monitoring/checks/ping-token.ts';
import { readText } from '../../src/monitoring/checks/read-body.ts';
import { currentConfig } from '../../src/monitoring/config-cache.ts';
import { resourceId } from '../../src/monitoring/resources/common.ts';
import { statusNames } from '../../src/monitoring/status.ts';
import type { App } from '../http/app.ts';
import { requireDataset, requireRate } from '../http/auth.ts';
import { datasetQuery } from '../http/monitor-request.ts';
import { type Route, route } from '../http/route.ts';

const params = { id: resourceId.meta({ description: 'id of the service' }) };
const query = z.strictObject(datasetQuery);

const resultSchema = z
  .object({
    statusCode: z.int().min(0).max(5),
    status: z.enum(statusNames as [string, ...string[]]),
    reason: z.string().nullable().meta({ description: 'null if the status is `ok`' }),
    message: z.string(),
    responseTimeMs: z.int().nullable(),
    details: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'CheckResult' });

const tokenSchema = z
  .object({ token: z.string(), url: z.string().meta({ description: 'the address that the service pings' }) })
  .meta({ id: 'PingToken' });

/** Bytes of a ping's text that are kept. */
const pingBytes_max = 10 * 1024;

const pingParams = {
  token: z.string().max(100).meta({ description: 'token of the service' }),
};
const signalParams = {
  ...pingParams,
  signal: z.string().max(10).meta({ description: '`start`, `fail`, `log`, or an exit status from 0 to 255' }),
};
const pingQuery = z.object({
  rid: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,64}$/, 'at most 64 letters, digits, underscores and hyphens')
    .optional()
    .meta({ description: 'name of the run: a repeated ping of a run counts once' }),
});

const pingTexts = {
  scope: 'public',
  tag: 'Monitoring',
  metricClass: 'ingest',
  query: pingQuery,
  responses: { 200: { description: 'The ping is stored', type: 'text/plain', schema: z.string() } },
  errors: ['not-found', 'buffer-full', 'quota-exceeded', 'too-many-requests'],
} as const;

type PingRequest = { c: Context<App>; params: { token: string; signal?: string }; query: { rid?: string | undefined } };

/** Tools that look at links send HEAD requests, and count as the service. */
async function ping({ c, params: { token, signal: text }, query: { rid } }: PingRequest): Promise<Response> {
  const ctx = c.get('ctx');
  const signal = parseSignal(text);
  const unknown = new ApiError('not-found', 'This address has no service.');
  if (signal === undefined || !/^[A-Za-z0-9_-]{22}$/.test(token)) throw unknown;
  const tokenHash = hashToken(token);
  // An unknown token costs a statement, so the address of the client is limited too.
  if (!isTokenKnown(ctx, tokenHash)) await requireRate(c, { id: `new ${c.req.header('cf-connecting-ip') ?? ''}` });
  await requireRate(c, { id: `ping ${tokenHash}` });
  const isPost = c.req.method === 'POST';
  const { text: body } = isPost ? await readText(c.req.raw, pingBytes_max) : { text: '' };
  const requestId = c.get('requestId');
  const isStored = await recordPing(ctx, { tokenHash, signal, runId: rid, requestId, body });
  if (!isStored) throw unknown;
  return c.text('OK');
}

const example = { path: { id: 'api' } };
const pingExample = { token: 'kQnB1hT0T2uZ6yq3m8Jx5A' };

export const monitorCheckRoutes: Route[] = [
  route(
    {
      method: 'post',
      path: '/v1/monitor/services/:id/check',
      scope: 'admin',
      tag: 'Monitoring',
      summary: 'Run the check of a service',
      description: 'Runs the check once, now. The result is not stored and causes no alert.',
      params,
      query,
      responses: { 200: { description: 'The result', schema: resultSchema } },
      example,
    },
    async ({ c, ctx, params: { id }, query: { dataset }, json }) => {
      requireDataset(c, ['admin'], dataset);
      const { code, reason, message, responseTime_ms, details } = await checkNow(ctx, dataset, id);
      return json(200, {
        statusCode: code,
        status: statusNames[code] ?? '',
        reason,
        message,
        responseTimeMs: responseTime_ms,
        details,
      });
    },
  ),
  route(
    {
      method: 'post',
      path: '/v1/monitor/services/:id/ping-token',
      scope: 'admin',
      tag: 'Monitoring',
      summary: 'Create the address for the heartbeats of a service',
      description:
        'The answer is the only one with the token, of which a hash is stored. Earlier tokens of the service stop working within a minute.',
      params,
      query,
      responses: { 200: { description: 'The token and the address', schema: tokenSchema } },
      example,
    },
    async ({ c, ctx, params: { id }, query: { dataset }, json }) => {
      requireDataset(c, ['admin'], dataset);
      const service = (await currentConfig(ctx, dataset)).services.get(id);
      if (service === undefined) throw new ApiError('not-found', `Service ${id} not found.`);
      const token = await createPingToken(ctx, dataset, id);
      return json(200, { token, url: `${new URL(c.req.url).origin}/ping/${token}` });
    },
  ),
  ...(['get', 'post'] as const).flatMap((method) => [
    route(
      {
        ...pingTexts,
        method,
        path: '/ping/:token',
        summary: method === 'get' ? 'Ping: the service is well' : 'Ping with a text: the service is well',
        params: pingParams,
        example: { path: pingExample },
      },
      ping,
    ),
    route(
      {
        ...pingTexts,
        method,
        path: '/ping/:token/:signal',
        summary: method === 'get' ? 'Ping with a signal' : 'Ping with a signal and a text',
        params: signalParams,
        example: { path: { ...pingExample, signal: 'start' } },
      },
      ping,
    ),
  ]),
];
