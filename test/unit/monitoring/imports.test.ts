import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { importGatus } from '../../../src/cli/monitor/imports/gatus.ts';
import { type Imported, readForeignFile } from '../../../src/cli/monitor/imports/imported.ts';
import { importPrometheus } from '../../../src/cli/monitor/imports/prometheus.ts';
import { yamlOf } from '../../../src/cli/monitor/yaml-text.ts';

const folder = mkdtempSync(join(tmpdir(), 'timestore-imports-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function convert(text: string, by: (value: Record<string, unknown>, imported: Imported) => void) {
  const path = join(folder, 'file.yaml');
  writeFileSync(path, text);
  const { imported, value } = await readForeignFile(path);
  by(value, imported);
  return {
    yaml: yamlOf(imported.resources, { keepsReferences: true }),
    unmapped: imported.unmapped.map(({ place: { line }, message }) => `${line}: ${message}`),
  };
}

test('endpoints of Gatus become services, rules, channels and maintenance windows', async () => {
  const { yaml, unmapped } = await convert(
    `alerting:
  slack:
    webhook-url: "\${SLACK}"
    default-alert:
      failure-threshold: 5
      send-on-resolved: true
      description: please look
  discord:
    webhook-url: https://discord.example.com/x
endpoints:
  - name: front end
    group: core
    url: https://example.org/health
    headers:
      Authorization: Bearer \${TOKEN}
    interval: 5m
    client:
      timeout: 5s
    conditions:
      - "[STATUS] == 200"
      - "[CERTIFICATE_EXPIRATION] > 48h"
      - "[DOMAIN_EXPIRATION] > 720h"
    alerts:
      - type: slack
      - type: discord
        failure-threshold: 10
  - name: ping
    url: icmp://example.org
  - name: db
    url: tcp://db.example.org:5432
    interval: 30s
    conditions: ["[CONNECTED] == true"]
    maintenance-windows:
      - { start: "23:00", duration: 1h, timezone: Europe/Amsterdam, every: [Monday, Thursday] }
external-endpoints:
  - name: backup
    token: secret-token
    heartbeat:
      interval: 24h
ui:
  title: Health
`,
    importGatus,
  );
  expect(unmapped).toEqual([
    '40: configuration: ui has no counterpart',
    '8: alerting discord has no counterpart; its alerts are rules without this channel',
    '22: endpoint core_front end: [DOMAIN_EXPIRATION] has no counterpart',
    '25: alert of core_front-end: no channel discord',
    '25: alert of core_front-end-certificate: no channel discord',
    '28: endpoint ping: icmp:// has no counterpart; the endpoint is left out',
    '31: endpoint db: interval 30s: the least is a minute, which it has now',
    '37: external endpoint backup: its token; make an address to ping in its place',
  ]);
  expect(yaml).toBe(`services:
  backup:
    label: backup
    statusConfig:
      check: heartbeat
      period: 1d
      grace: 0s
  core_front-end:
    label: front end
    stack: core
    statusConfig:
      check: http
      url: https://example.org/health
      headers:
        Authorization: Bearer \${TOKEN}
      followRedirects: 5
      interval: 5m
      timeout: 5s
      attempts: 1
      conditions:
        - "[STATUS] == 200"
  core_front-end-certificate:
    label: front end
    stack: core
    statusConfig:
      check: certificate
      host: example.org
      interval: 5m
      timeout: 5s
      attempts: 1
      conditions:
        - "[CERTIFICATE_EXPIRATION] > 48h"
  db:
    label: db
    statusConfig:
      check: tcp
      host: db.example.org
      port: 5432
      attempts: 1
      conditions:
        - "[CONNECTED] == true"
rules:
  core_front-end-certificate-fails:
    ruleName: core_front-end-certificate fails
    serviceId: core_front-end-certificate
    condition: failures_in_a_row >=
    threshold: 5
    notificationChannels:
      - slack
    successesToRecover: 2
    annotations:
      description: please look
    repeat: 7d
  core_front-end-certificate-fails-2:
    ruleName: core_front-end-certificate fails
    serviceId: core_front-end-certificate
    condition: failures_in_a_row >=
    threshold: 10
    successesToRecover: 2
    repeat: 7d
  core_front-end-fails:
    ruleName: core_front-end fails
    serviceId: core_front-end
    condition: failures_in_a_row >=
    threshold: 5
    notificationChannels:
      - slack
    successesToRecover: 2
    annotations:
      description: please look
    repeat: 7d
  core_front-end-fails-2:
    ruleName: core_front-end fails
    serviceId: core_front-end
    condition: failures_in_a_row >=
    threshold: 10
    successesToRecover: 2
    repeat: 7d
channels:
  slack:
    kind: slack
    url: \${SLACK}
maintenances:
  db-maintenance:
    title: Maintenance of db
    services:
      - db
    cron: 0 23 * * 1,4
    duration: 1h
    timeZone: Europe/Amsterdam
`);
});

test('alert rules of Prometheus map exactly or are named with their line', async () => {
  const { yaml, unmapped } = await convert(
    `groups:
  - name: queues
    interval: 30s
    query_offset: 1m
    limit: 10
    labels: { team: a }
    rules:
      - alert: QueueDeep
        expr: avg_over_time(queue_depth{service_id="api", host="it's"}[10m]) >= 1e3
        for: 1w
        labels: { severity: critical, zone: b }
        annotations: { summary: "{{ $labels.host }} has {{ $value }}", more: "{{ printf \\"x\\" }}" }
      - alert: Down
        expr: up == 0
        labels: { severity: page }
      - alert: Gone
        expr: absent(up{job="x"})
      - alert: Rate
        expr: sum(rate(errors[5m])) by (job) > 0.5
      - alert: Regex
        expr: up{job=~"a.*"} == 0
      - alert: Own
        condition: failure_rate over 5m >
        threshold: 30
        serviceId: api
      - record: x
        expr: up
`,
    importPrometheus,
  );
  expect(unmapped).toEqual([
    '5: group queues: limit has no counterpart',
    '3: alert QueueDeep: interval 30s is shorter than a minute; the rule is evaluated each minute',
    '12: alert QueueDeep: the template {{ printf "x" }} has no counterpart and stays as text',
    '15: alert Down: severity page is none of critical, error, warning, info; the rule has the severity error',
    '3: alert Down: interval 30s is shorter than a minute; the rule is evaluated each minute',
    '17: alert Gone: absent() has no exact counterpart; no_data watches the rows of a service',
    '19: alert Rate: only metric{tag="x"} > n and avg|min|max|sum|count|last_over_time(metric{…}[5m]) > n map exactly',
    '21: alert Regex: the matcher job=~ has no counterpart',
    '3: alert Own: interval 30s is shorter than a minute; the rule is evaluated each minute',
    '26: recording rule x: only alerts have a counterpart',
  ]);
  expect(yaml).toBe(`rules:
  Down:
    ruleName: Down
    serviceId: "*"
    condition: metric(up, last) over 5m ==
    threshold: 0
    delay: 1m
    labels:
      team: a
  Own:
    ruleName: Own
    serviceId: api
    condition: failure_rate over 5m >
    threshold: 30
    delay: 1m
    labels:
      team: a
  QueueDeep:
    ruleName: QueueDeep
    serviceId: api
    condition: metric(queue_depth, avg) over 10m where tags.host = 'it\\'s' >=
    threshold: 1000
    severity: critical
    for: 7d
    delay: 1m
    labels:
      team: a
      zone: b
    annotations:
      summary: "{{ $labels.host }} has {{ $value }}"
      more: '{{ printf "x" }}'
`);
});
