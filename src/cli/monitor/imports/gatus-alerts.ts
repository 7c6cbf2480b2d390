import { durationText } from '../../../monitoring/duration.ts';
import { isMembers } from '../../../monitoring/resources/secret-places.ts';
import type { Path } from '../yaml-file.ts';
import { defaults } from './gatus-check.ts';
import { definedOnly, foreignDuration, type Imported, itemsOf } from './imported.ts';

type Members = Record<string, unknown>;

/** Of each type of alert: the channel, and the members that its alerts have by default. */
export type Channels = Map<string, { id: string; defaults: Members }>;

const members = [
  'type',
  'enabled',
  'failure-threshold',
  'success-threshold',
  'send-on-resolved',
  'description',
  'minimum-reminder-interval',
];

/** Gatus sends no reminders by default; a rule repeats at least weekly. */
const repeatsRarely = '7d';

/** The channels of `alerting`: Slack and PagerDuty. */
export function importChannels(alerting: unknown, imported: Imported): Channels {
  const channels: Channels = new Map();
  if (!isMembers(alerting)) return channels;
  for (const [type, settings] of Object.entries(alerting)) {
    const path: Path = ['alerting', type];
    const provider = isMembers(settings) ? settings : {};
    const byDefault = isMembers(provider['default-alert']) ? provider['default-alert'] : {};
    const definition = channelOf(type, provider);
    if (definition === undefined) {
      imported.leaveOut(path, `alerting ${type} has no counterpart; its alerts are rules without this channel`);
      continue;
    }
    const sendResolved = byDefault['send-on-resolved'] === true;
    const taken = ['default-alert', type === 'slack' ? 'webhook-url' : 'integration-key'];
    imported.leaveOutOthers(provider, path, taken, `alerting ${type}`);
    const id = imported.add('channel', type, { ...definition, sendResolved }, path);
    if (id !== undefined) channels.set(type, { id, defaults: byDefault });
  }
  return channels;
}

function channelOf(type: string, provider: Members): Members | undefined {
  if (type === 'slack') return { kind: 'slack', url: provider['webhook-url'] };
  if (type === 'pagerduty') return { kind: 'pagerduty', routingKey: provider['integration-key'] };
  return undefined;
}

/** The alerts of an endpoint as rules of its service. Several alerts with rising thresholds are rules of their own. */
export function importAlerts(
  alerts: unknown,
  path: Path,
  service: string,
  channels: Channels,
  imported: Imported,
): void {
  for (const [i, own] of itemsOf(alerts).entries()) {
    const alertPath = [...path, i];
    imported.leaveOutOthers(own, alertPath, members, `alert of ${service}`);
    const type = String(own.type);
    const channel = channels.get(type);
    if (channel === undefined) imported.leaveOut(alertPath, `alert of ${service}: no channel ${type}`);
    const alert = { ...channel?.defaults, ...own };
    const resolves = own['send-on-resolved'];
    if (resolves !== undefined && resolves !== (channel?.defaults['send-on-resolved'] ?? false)) {
      const message = `alert of ${service}: send-on-resolved differs from that of its channel, which counts here`;
      imported.leaveOut([...alertPath, 'send-on-resolved'], message);
    }
    const reminder = alert['minimum-reminder-interval'];
    const repeat_ms = reminder === undefined ? undefined : foreignDuration(reminder);
    const definition = {
      ruleName: `${service} fails`,
      serviceId: service,
      condition: 'failures_in_a_row >=',
      threshold: alert['failure-threshold'] ?? defaults.failures,
      successesToRecover: alert['success-threshold'] ?? defaults.successes,
      notificationChannels: channel === undefined ? [] : [channel.id],
      annotations: alert.description === undefined ? undefined : { description: String(alert.description) },
      repeat: repeat_ms === undefined || repeat_ms === 0 ? repeatsRarely : durationText(repeat_ms),
      enabled: alert.enabled === false ? false : undefined,
    };
    imported.add('rule', `${service}-fails`, definedOnly(definition), alertPath);
  }
}
