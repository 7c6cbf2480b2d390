import { expect, test } from 'vitest';
import type { AlertView } from '../../../src/monitoring/notifications/alert-view.ts';
import { fingerprintOf } from '../../../src/monitoring/notifications/fingerprint.ts';
import { alertmanagerBody } from '../../../src/monitoring/notifications/messages/alertmanager.ts';
import { emailBody, unknownNames } from '../../../src/monitoring/notifications/messages/email.ts';
import type { Message } from '../../../src/monitoring/notifications/messages/message.ts';
import { dedupKey, pagerdutyBodies, withRoutingKey } from '../../../src/monitoring/notifications/messages/pagerduty.ts';
import { slackBody } from '../../../src/monitoring/notifications/messages/slack.ts';
import { webhookBody } from '../../../src/monitoring/notifications/messages/webhook.ts';
import { channelDefinition } from '../../../src/monitoring/resources/channel.ts';

const alert: AlertView = {
  dataset: 'monitor',
  ruleId: 'api-down',
  ruleName: 'ApiDown',
  serviceId: 'api',
  label: 'API',
  severity: 'critical',
  status: 'firing',
  reason: 'breach',
  labels: { region: 'eu' },
  annotations: { summary: 'API fails' },
  value: 2,
  threshold: 2,
  condition: 'failures_in_a_row >=',
  startsAt_ms: Date.UTC(2026, 4, 1, 10),
  firedAt_ms: Date.UTC(2026, 4, 1, 10, 1, 0, 250),
  endsAt_ms: null,
  episode: 3,
  fingerprint: 'f1',
  dependents: 2,
};
const ended: AlertView = { ...alert, status: 'resolved', endsAt_ms: Date.UTC(2026, 4, 1, 10, 9, 30, 120) };

function messageOf(alerts: AlertView[], truncatedAlerts = 0): Message {
  return {
    dataset: 'monitor',
    channel: 'ops',
    groupKey: 'api-down',
    at_ms: Date.UTC(2026, 4, 1, 10, 1, 10),
    alerts: alerts.map((each) => {
      const kind = each.status === 'resolved' ? 'resolved' : 'fired';
      return { event: `${each.ruleId}/${each.fingerprint}/${each.episode}/${kind}`, kind, alert: each };
    }),
    truncatedAlerts,
  };
}

test('a webhook has the form of Standard Webhooks', () => {
  expect(webhookBody(messageOf([alert]))).toBe(
    '{"type":"alert.fired","timestamp":"2026-05-01T10:01:10.000Z","data":{"dataset":"monitor","groupKey":"api-down",' +
      '"truncatedAlerts":0,"alerts":[{"event":"api-down/f1/3/fired","kind":"fired","dataset":"monitor","ruleId":"api-down",' +
      '"ruleName":"ApiDown","serviceId":"api","label":"API","severity":"critical","status":"firing","reason":"breach",' +
      '"labels":{"region":"eu"},"annotations":{"summary":"API fails"},"value":2,"threshold":2,' +
      '"condition":"failures_in_a_row >=","episode":3,"fingerprint":"f1","dependents":2,' +
      '"startsAt":"2026-05-01T10:00:00.000Z","firedAt":"2026-05-01T10:01:00.250Z","endsAt":null}]}}',
  );
  expect(JSON.parse(webhookBody(messageOf([ended])))).toMatchObject({ type: 'alert.resolved' });
  expect(JSON.parse(webhookBody(messageOf([ended, alert])))).toMatchObject({ type: 'alert.fired' });
  expect(JSON.parse(webhookBody(messageOf([{ ...alert, status: 'acknowledged' }, ended])))).toMatchObject({
    type: 'alert.acknowledged',
  });
});

test('the body of Alertmanager, version 4', () => {
  const labels = '{"alertname":"ApiDown","dataset":"monitor","region":"eu","service_id":"api","severity":"critical"}';
  const notes = '{"condition":"failures_in_a_row >=","summary":"API fails","threshold":"2","value":"2"}';
  const firing = notes;
  const fingerprint = fingerprintOf(JSON.parse(labels) as Record<string, string>);
  expect(alertmanagerBody(messageOf([alert, ended]))).toBe(
    '{"version":"4","groupKey":"{}:{alertname=\\"ApiDown\\"}","truncatedAlerts":0,"status":"firing","receiver":"ops",' +
      `"groupLabels":{"alertname":"ApiDown"},"commonLabels":${labels},"commonAnnotations":${firing},"externalURL":"",` +
      `"alerts":[{"status":"firing","labels":${labels},"annotations":${firing},"startsAt":"2026-05-01T10:00:00Z",` +
      `"endsAt":"0001-01-01T00:00:00Z","generatorURL":"","fingerprint":"${fingerprint}"},` +
      `{"status":"resolved","labels":${labels},"annotations":${notes},"startsAt":"2026-05-01T10:00:00Z",` +
      `"endsAt":"2026-05-01T10:09:30.12Z","generatorURL":"","fingerprint":"${fingerprint}"}]}`,
  );
  expect(JSON.parse(alertmanagerBody(messageOf([ended])))).toMatchObject({ status: 'resolved' });
  const other = { ...alert, serviceId: 'db', labels: {} };
  expect(JSON.parse(alertmanagerBody(messageOf([alert, other], 7)))).toMatchObject({
    truncatedAlerts: 7,
    commonLabels: { alertname: 'ApiDown', dataset: 'monitor', severity: 'critical' },
  });
});

test('a fingerprint is FNV-1a of sorted names and values', () => {
  // The 64-bit FNV-1a of no bytes is its offset basis; "a" is a vector of its authors.
  expect(fingerprintOf({})).toBe('cbf29ce484222325');
  expect(fingerprintOf({ b: '2', a: '1' })).toBe(fingerprintOf({ a: '1', b: '2' }));
  expect(fingerprintOf({ ab: 'c' })).not.toBe(fingerprintOf({ a: 'bc' }));
  const bytes = [...Buffer.from('a'), 0xff, ...Buffer.from('1'), 0xff];
  const naive = bytes.reduce((hash, byte) => ((hash ^ BigInt(byte)) * 0x100000001b3n) % 2n ** 64n, 0xcbf29ce484222325n);
  expect(fingerprintOf({ a: '1' })).toBe(naive.toString(16).padStart(16, '0'));
});

test('PagerDuty gets one event for each alert, with a key for each episode', () => {
  const [trigger, resolve] = pagerdutyBodies(messageOf([alert, { ...ended, episode: 2 }]));
  expect(withRoutingKey(trigger ?? '', 'R0"')).toBe(
    '{"routing_key":"R0\\"","event_action":"trigger","dedup_key":"ts/monitor/api-down/f1/3","client":"timestore",' +
      '"payload":{"summary":"API fails (2 behind it)","source":"API","severity":"critical","timestamp":"2026-05-01T10:00:00.000Z",' +
      '"component":"api","group":"monitor","class":"ApiDown","custom_details":{"condition":"failures_in_a_row >=","value":2,' +
      '"threshold":2,"dependents":2,"labels":{"region":"eu"},"annotations":{"summary":"API fails"}}}}',
  );
  expect(resolve).toBe('{"event_action":"resolve","dedup_key":"ts/monitor/api-down/f1/2"}');
  const [acknowledged] = pagerdutyBodies(messageOf([{ ...alert, status: 'acknowledged' }]));
  expect(acknowledged).toContain('"event_action":"acknowledge"');
});

test('keys of PagerDuty differ for each part, stay short, and have no empty part', () => {
  const long = { ...alert, ruleId: 'r'.repeat(128), fingerprint: 'ü'.repeat(100) };
  const all = [
    alert,
    { ...alert, episode: 4 },
    { ...alert, ruleId: 'other' },
    { ...alert, fingerprint: 'f2' },
    { ...alert, dataset: 'other' },
    { ...alert, ruleId: 'api-down/f1', fingerprint: '3' },
    long,
    { ...long, episode: 4 },
  ].map(dedupKey);
  expect(new Set(all).size).toBe(all.length);
  for (const key of all) {
    expect(key.length).toBeLessThanOrEqual(255);
    expect(key).toMatch(/^ts\/(?:[^/]+\/)*[^/]+$/);
  }
  expect(() => dedupKey({ ...alert, fingerprint: '' })).toThrow();
});

/** Late repeats of messages about an earlier episode do not end the present one. */
test('a late repeat of the end of episode 1 leaves the incident of episode 2 open', () => {
  const open = new Set<string>();
  const receive = (body: string | undefined) => {
    const { event_action, dedup_key } = JSON.parse(body ?? '') as { event_action: string; dedup_key: string };
    if (event_action === 'trigger') open.add(dedup_key);
    else open.delete(dedup_key);
  };
  const [fired1, resolved1, fired2] = pagerdutyBodies(
    messageOf([
      { ...alert, episode: 1 },
      { ...ended, episode: 1 },
      { ...alert, episode: 2 },
    ]),
  );
  for (const body of [fired1, resolved1, fired2, resolved1]) receive(body);
  expect([...open]).toEqual(['ts/monitor/api-down/f1/2']);
});

test('Slack gets escaped text within its limits', () => {
  expect(slackBody(messageOf([alert]))).toBe(
    '{"text":"[CRITICAL] API fails (2 behind it)","blocks":[{"type":"header","text":{"type":"plain_text",' +
      '"text":"[CRITICAL] API fails (2 behind it)"}},{"type":"section","text":{"type":"mrkdwn",' +
      '"text":"*API fails (2 behind it)*\\ncritical, since 2026-05-01T10:00:00.000Z\\nfailures_in_a_row &gt;= is 2"}}]}',
  );
  const rude = { ...alert, annotations: { summary: '<!channel>\r\n & <@U1>', description: '<'.repeat(5_000) } };
  const { text, blocks } = JSON.parse(slackBody(messageOf(Array<AlertView>(50).fill(rude), 4_950))) as {
    text: string;
    blocks: { type: string; text: { type: string; text: string } }[];
  };
  expect(blocks).toHaveLength(50);
  expect(blocks.at(-1)?.text.text).toBe('… and 4952 more');
  for (const { type, text } of blocks) {
    if (type !== 'section') continue;
    expect(text.text.length).toBeLessThanOrEqual(3_000);
    expect(text.text).not.toMatch(/<|>/);
    expect(text.text.replaceAll(/&(?:amp|lt|gt);/g, '')).not.toContain('&');
  }
  expect(text).not.toContain('<');
});

test('an e-mail fills the texts of a template, and nothing else of it', () => {
  const email = channelDefinition.parse({
    kind: 'email',
    url: 'https://mail.example.com/send',
    from: 'alerts@example.com',
    to: ['a@example.com', 'b@example.com'],
    body: {
      personalizations: [{ to: '{{ to }}' }],
      subject: '[ts] {{subject}}',
      content: '{{ text }}',
      tracking: false,
    },
  });
  if (email.kind !== 'email') throw new Error('another kind');
  const odd = { ...alert, annotations: { summary: 'x"}\r\nBcc: all@example.com {{ from }}' } };
  expect(JSON.parse(emailBody(messageOf([odd]), email))).toEqual({
    personalizations: [{ to: ['a@example.com', 'b@example.com'] }],
    subject: '[ts] [CRITICAL] x"} Bcc: all@example.com {{ from }} (2 behind it)',
    content: expect.stringContaining('critical, since 2026-05-01T10:00:00.000Z'),
    tracking: false,
  });
  expect(unknownNames({ a: ['{{ text }} {{ html }}'], b: { c: '{{service.label}}' } })).toEqual([
    'html',
    'service.label',
  ]);
});
