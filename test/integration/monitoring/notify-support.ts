import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { jobHandlers } from '../../../functions/http/job-handlers.ts';
import type { Context } from '../../../src/create-context.ts';
import { runDeliveries } from '../../../src/jobs/runner.ts';
import type { AlertView } from '../../../src/monitoring/notifications/alert-view.ts';
import { announceNotices } from '../../../src/monitoring/notifications/marks.ts';
import { type Notice, noticeStatements } from '../../../src/monitoring/notifications/notices.ts';
import { channelDefinition } from '../../../src/monitoring/resources/channel.ts';
import { readConfig } from '../../../src/monitoring/resources/store.ts';

export type Heard = { path: string; headers: IncomingHttpHeaders; body: string; at_ms: number };
/** A status with headers; `lost`: the receiver takes the message and closes the connection; `slow`: it answers late. */
export type Answer = number | { status: number; headers: Record<string, string> } | 'lost';

/** A receiver of messages on this machine. Answers are taken in order; afterwards it answers 200. */
export async function startReceiver() {
  const heard: Heard[] = [];
  const answers: Answer[] = [];
  const server = createServer(async (request, response) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const body = Buffer.concat(parts).toString();
    heard.push({ path: request.url ?? '', headers: request.headers, body, at_ms: Date.now() });
    const answer = answers.shift() ?? 200;
    if (answer === 'lost') return void request.socket.destroy();
    const { status, headers } = typeof answer === 'number' ? { status: answer, headers: {} } : answer;
    response.writeHead(status, headers).end('ok');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, heard, answers, close: () => void server.close() };
}

/** Stores a channel, and its secrets by name. */
export async function putChannel(
  ctx: Context,
  dataset: string,
  id: string,
  definition: object,
  secrets: Record<string, string> = {},
): Promise<void> {
  const buffer = ctx.config.TIMESTORE_KEY_PREFIX;
  const full = channelDefinition.parse({ groupWait: '5s', ...definition });
  await ctx.postgres.rows(
    `insert into monitor_resources (buffer, dataset, kind, id, definition, actor)
     values ($buffer, $dataset, 'channel', $id, $definition::jsonb, 'test')
     on conflict (buffer, dataset, kind, id) do update set definition = excluded.definition`,
    { buffer, dataset, id, definition: JSON.stringify(full) },
  );
  for (const [name, value] of Object.entries(secrets)) {
    await ctx.postgres.rows(
      `insert into monitor_secrets (buffer, dataset, name, value) values ($buffer, $dataset, $name, $value)
       on conflict (buffer, dataset, name) do update set value = excluded.value`,
      { buffer, dataset, name, value },
    );
  }
}

export function viewOf(dataset: string, more: Partial<AlertView> = {}): AlertView {
  return {
    dataset,
    ruleId: 'api-down',
    ruleName: 'API down',
    serviceId: 'api',
    label: 'API',
    severity: 'critical',
    status: 'firing',
    reason: 'breach',
    labels: {},
    annotations: {},
    value: 2,
    threshold: 2,
    condition: 'failures_in_a_row >=',
    startsAt_ms: Date.UTC(2026, 4, 1, 10),
    firedAt_ms: Date.UTC(2026, 4, 1, 10, 1),
    endsAt_ms: null,
    episode: 1,
    fingerprint: 'f1',
    dependents: 0,
    ...more,
  };
}

export function noticeOf(
  dataset: string,
  channel: string,
  kind: 'fired' | 'resolved',
  more: Partial<AlertView> = {},
): Notice {
  const ended = kind === 'resolved' ? { status: 'resolved' as const, endsAt_ms: Date.UTC(2026, 4, 1, 10, 9) } : {};
  const alert = viewOf(dataset, { ...ended, ...more });
  const { ruleId, fingerprint, episode } = alert;
  const event = `${ruleId}/${fingerprint}/${episode}/${kind}`;
  return { channel, event, kind, ruleId, fingerprint, episode, groupKey: ruleId, alert };
}

/** Records notices as an evaluation does. */
export async function commit(ctx: Context, dataset: string, notices: Notice[]): Promise<void> {
  const { channels } = await readConfig(ctx, dataset);
  const { statements, wait_ms } = noticeStatements(ctx, dataset, notices, channels);
  const announced = await announceNotices(ctx);
  if (statements.length > 0) await ctx.postgres.transaction(statements);
  await announced.committed(wait_ms);
}

/** As if the waits of groups and of messages were over. */
export async function skipWaits(ctx: Context): Promise<void> {
  const buffer = ctx.config.TIMESTORE_KEY_PREFIX;
  await ctx.postgres.rows('update notification_groups set due_at = now() where buffer = $1 and due_at is not null', [
    buffer,
  ]);
  await ctx.postgres.rows(
    `update jobs set due_at = now(), claim = null, claimed_until = null where buffer = $1 and state in ('queued', 'running')`,
    [buffer],
  );
  await ctx.redis.zadd(ctx.keys.noticesDue, { score: 1, member: 'groups' });
}

/** One look for due deliveries. */
export async function deliver(ctx: Context): Promise<number> {
  return await runDeliveries(ctx, jobHandlers, ctx.now() + 20_000);
}
