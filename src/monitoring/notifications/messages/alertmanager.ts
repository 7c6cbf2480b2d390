import type { AlertView } from '../alert-view.ts';
import { fingerprintOf } from '../fingerprint.ts';
import { isoTime, type Message, statusOf, summaryOf } from './message.ts';

/** The time of an alert that has not ended. */
const zeroTime = '0001-01-01T00:00:00Z';

/** Body of version 4 of Alertmanager's webhooks. */
export function alertmanagerBody(message: Message): string {
  const alerts = message.alerts.map(({ alert }) => ({ alert, labels: labelsOf(alert), annotations: notesOf(alert) }));
  const groupLabels = common(alerts.map(({ labels: { alertname = '' } }) => ({ alertname })));
  return JSON.stringify({
    version: '4',
    groupKey: `{}:{${Object.entries(groupLabels)
      .map(([name, value]) => `${name}=${JSON.stringify(value)}`)
      .join(', ')}}`,
    truncatedAlerts: message.truncatedAlerts,
    status: statusOf(message),
    receiver: message.channel,
    groupLabels,
    commonLabels: common(alerts.map(({ labels }) => labels)),
    commonAnnotations: common(alerts.map(({ annotations }) => annotations)),
    externalURL: '',
    alerts: alerts.map(({ alert, labels, annotations }) => ({
      status: alert.status === 'resolved' ? 'resolved' : 'firing',
      labels,
      annotations,
      startsAt: shortTime(alert.startsAt_ms),
      endsAt: alert.endsAt_ms === null ? zeroTime : shortTime(alert.endsAt_ms),
      generatorURL: '',
      fingerprint: fingerprintOf(labels),
    })),
  });
}

/** As Go writes it: without zeros at the end of a second's fraction. */
function shortTime(time_ms: number): string {
  return isoTime(time_ms).replace(/0+Z$/, 'Z').replace(/\.Z$/, 'Z');
}

function labelsOf({ labels, ruleName, serviceId, severity, dataset }: AlertView): Record<string, string> {
  const all = { ...labels, alertname: ruleName, service_id: serviceId, severity, dataset };
  return inOrder(Object.entries(all).filter(([, value]) => value !== ''));
}

function notesOf(alert: AlertView): Record<string, string> {
  const { value, threshold, condition, annotations } = alert;
  const given = value === null ? {} : { value: String(value) };
  const limit = threshold === null ? {} : { threshold: String(threshold) };
  const all = { summary: summaryOf(alert), condition, ...given, ...limit, ...annotations };
  return inOrder(Object.entries(all).filter(([, text]) => text !== ''));
}

/** The members that all have, with the same value. */
function common(all: Record<string, string>[]): Record<string, string> {
  const [first = {}, ...others] = all;
  return inOrder(Object.entries(first).filter(([name, value]) => others.every((each) => each[name] === value)));
}

function inOrder(entries: [string, string][]): Record<string, string> {
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}
