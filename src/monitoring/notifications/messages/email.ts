import type { ChannelDefinition } from '../../resources/channel.ts';
import { cut, headingOf, isoTime, type Message, summaryOf } from './message.ts';

type EmailChannel = Extract<ChannelDefinition, { kind: 'email' }>;

/** The body of a channel without one. */
const defaultTemplate = { from: '{{ from }}', to: '{{ to }}', subject: '{{ subject }}', text: '{{ text }}' };

/** The names that a template may contain. */
export const emailNames = ['from', 'to', 'subject', 'text'] as const;

/**
 * Body of a request that sends an e-mail, for the HTTP API of a provider. The template is a JSON value. Names in its texts
 * are replaced by values; `{{ to }}` alone becomes the list of addresses.
 */
export function emailBody(message: Message, { from, to, body = defaultTemplate }: EmailChannel): string {
  // A line break in a subject would begin another header.
  const subject = cut(headingOf(message).replace(/\s+/g, ' '), 200);
  const values = { from, to, subject, text: textOf(message) };
  return JSON.stringify(fill(body, values));
}

type Values = Record<(typeof emailNames)[number], string | string[]>;

function fill(template: unknown, values: Values): unknown {
  if (typeof template === 'string') return fillText(template, values);
  if (Array.isArray(template)) return template.map((each) => fill(each, values));
  if (typeof template !== 'object' || template === null) return template;
  return Object.fromEntries(Object.entries(template).map(([name, each]) => [name, fill(each, values)]));
}

const placeholder = /\{\{\s*([A-Za-z.]+)\s*\}\}/g;

function fillText(text: string, values: Values): string | string[] {
  const whole = /^\{\{\s*to\s*\}\}$/.test(text);
  if (whole) return values.to;
  return text.replace(placeholder, (found, name: string) => {
    const value = isName(name) ? values[name] : found;
    return Array.isArray(value) ? value.join(', ') : value;
  });
}

function isName(name: string): name is keyof Values {
  return (emailNames as readonly string[]).includes(name);
}

/** Placeholders of a template that have no value. A channel with one is not stored. */
export function unknownNames(template: unknown): string[] {
  if (typeof template === 'string') {
    return [...template.matchAll(placeholder)].map(([, name = '']) => name).filter((name) => !isName(name));
  }
  if (typeof template !== 'object' || template === null) return [];
  return Object.values(template).flatMap(unknownNames);
}

function textOf({ alerts, truncatedAlerts }: Message): string {
  const parts = alerts.map(({ alert }) => {
    const { status, severity, condition, value, startsAt_ms, endsAt_ms, annotations } = alert;
    const compared = value === null ? condition : `${condition} is ${value}`;
    return [
      summaryOf(alert),
      `  ${status === 'firing' ? severity : status}, since ${isoTime(startsAt_ms)}${endsAt_ms === null ? '' : ` until ${isoTime(endsAt_ms)}`}`,
      `  ${compared}`,
      ...(annotations.description === undefined ? [] : [`  ${annotations.description}`]),
    ].join('\n');
  });
  if (truncatedAlerts > 0) parts.push(`… and ${truncatedAlerts} more alerts`);
  return `${parts.join('\n\n')}\n`;
}
