import * as z from 'zod';
import { type AlertView, alertView } from '../alert-view.ts';

/** The state of an alert that a channel is notified of. */
export const told = z.object({ event: z.string(), kind: z.string(), alert: alertView });
export type Told = z.output<typeof told>;

/** A message to one channel, before it has the channel's format. */
export type Message = {
  dataset: string;
  channel: string;
  groupKey: string;
  /** Time of the message, in milliseconds since 1970. */
  at_ms: number;
  /** At most `alerts_max`, each instance and episode once, in the order of their events. */
  alerts: Told[];
  /** How many more alerts the message stands for. */
  truncatedAlerts: number;
};

/** Alerts that a message contains. */
export const alerts_max = 50;

/** `firing` if one alert of a message fires. */
export function statusOf({ alerts }: Message): 'firing' | 'resolved' {
  return alerts.every(({ alert }) => alert.status === 'resolved') ? 'resolved' : 'firing';
}

/** A line such as `API is failing: checks fail`. */
export function summaryOf({ ruleName, label, status, reason, annotations, dependents }: AlertView): string {
  const behind = dependents > 0 ? ` (${dependents} behind it)` : '';
  const what = annotations.summary ?? `${label}: ${ruleName}`;
  if (status === 'resolved') return `${what}, resolved${reason === 'breach' ? '' : ` (${reason})`}`;
  if (status === 'acknowledged') return `${what}, acknowledged${behind}`;
  return `${what}${reason === 'nodata' ? ' (no data)' : ''}${behind}`;
}

/** A heading such as `3 alerts firing, 1 resolved in monitor`. */
export function headingOf(message: Message): string {
  const { alerts, truncatedAlerts, dataset } = message;
  const [only] = alerts;
  if (alerts.length === 1 && truncatedAlerts === 0 && only !== undefined) return titleOf(only.alert);
  const firing = alerts.filter(({ alert }) => alert.status !== 'resolved').length;
  const parts = [
    ...(firing > 0 ? [`${firing} firing`] : []),
    ...(firing < alerts.length ? [`${alerts.length - firing} resolved`] : []),
    ...(truncatedAlerts > 0 ? [`${truncatedAlerts} more`] : []),
  ];
  return `Alerts of ${dataset}: ${parts.join(', ')}`;
}

function titleOf(alert: AlertView): string {
  const status = alert.status === 'firing' ? alert.severity : alert.status;
  return `[${status.toUpperCase()}] ${summaryOf(alert)}`;
}

export function isoTime(time_ms: number): string {
  return new Date(time_ms).toISOString();
}

/** The beginning of a text, at most so many UTF-16 units, without half a character at its end. */
export function cut(text: string, units_max: number): string {
  if (text.length <= units_max) return text;
  return `${text.slice(0, units_max - 1).replace(/[\ud800-\udbff]$/, '')}…`;
}
