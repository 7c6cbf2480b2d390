import { noteJob } from '../../buffer/due.ts';
import { auditLine } from '../../catalog/audit-log/statement.ts';
import { ApiError } from '../../core/errors.ts';
import type { Params } from '../../stores/postgres/client.ts';
import type { MonitoringDeps } from '../deps.ts';
import type { ChannelDefinition } from '../resources/channel.ts';
import { readResource } from '../resources/store.ts';
import type { AlertView } from './alert-view.ts';
import { fingerprintOf } from './fingerprint.ts';
import { jobInsert, requestOf } from './message-job.ts';

/**
 * Starts the delivery of a test message. It has no order, so it does not wait for other messages, and is tried once.
 *
 * @returns the id of the message
 * @throws ApiError `not-found`; `conflict` for a channel that gets no messages; StoreError
 */
export async function sendTestMessage(ctx: MonitoringDeps, dataset: string, channel: string): Promise<string> {
  const resource = await readResource(ctx, dataset, 'channel', channel);
  const definition = resource.definition as ChannelDefinition;
  if (definition.kind === 'watchdog')
    throw new ApiError('conflict', `Channel ${channel} is a watchdog and gets no messages.`);
  if (!definition.enabled) throw new ApiError('conflict', `Channel ${channel} is switched off.`);
  const id = `msg_${crypto.randomUUID().replaceAll('-', '')}`;
  const at_ms = ctx.now();
  const alert = testAlert(dataset, at_ms);
  const event = `_test/${alert.fingerprint}/1/fired`;
  const message = {
    dataset,
    channel,
    groupKey: '_test',
    at_ms,
    alerts: [{ event, kind: 'fired', alert }],
    truncatedAlerts: 0,
  };
  const [insert, values] = jobInsert(ctx, { id, dataset, request: requestOf(message, definition, true) });
  const params: Params = { ...values, orderKey: null };
  const line = auditLine({ action: 'channel.test', dataset, detail: { channel } }, 'changed', params);
  await ctx.postgres.rows(`with changed as (${insert} returning id), line as (${line}) select id from changed`, params);
  await noteJob(ctx, ctx.now());
  return id;
}

function testAlert(dataset: string, at_ms: number): AlertView {
  const labels = { test: 'true' };
  return {
    dataset,
    ruleId: '_test',
    ruleName: 'Test',
    serviceId: '',
    label: 'Test',
    severity: 'info',
    status: 'firing',
    reason: 'breach',
    labels,
    annotations: { summary: 'Test message: this channel works' },
    value: null,
    threshold: null,
    condition: 'test',
    startsAt_ms: at_ms,
    firedAt_ms: at_ms,
    endsAt_ms: null,
    episode: 1,
    fingerprint: fingerprintOf({ ...labels, at: String(at_ms) }),
    dependents: 0,
  };
}
