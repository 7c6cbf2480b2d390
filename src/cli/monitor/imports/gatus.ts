import { durationText } from '../../../monitoring/duration.ts';
import { isMembers } from '../../../monitoring/resources/secret-places.ts';
import type { Path } from '../yaml-file.ts';
import { type Channels, importAlerts, importChannels } from './gatus-alerts.ts';
import { checkOf } from './gatus-check.ts';
import { definedOnly, foreignDuration, type Imported, itemsOf } from './imported.ts';

type Members = Record<string, unknown>;

const known = [
  'enabled',
  'name',
  'group',
  'url',
  'method',
  'body',
  'headers',
  'interval',
  'graphql',
  'conditions',
  'alerts',
  'maintenance-windows',
  'dns',
  'client',
];

/** Endpoints of Gatus as services with checks, their alerts as rules, and maintenance windows. */
export function importGatus(value: Members, imported: Imported): void {
  const top = ['endpoints', 'external-endpoints', 'alerting', 'maintenance'];
  imported.leaveOutOthers(value, [], top, 'configuration');
  const channels = importChannels(value.alerting, imported);
  for (const [i, endpoint] of itemsOf(value.endpoints).entries()) {
    importEndpoint(endpoint, ['endpoints', i], channels, imported);
  }
  for (const [i, endpoint] of itemsOf(value['external-endpoints']).entries()) {
    importExternal(endpoint, ['external-endpoints', i], channels, imported);
  }
  if (isMembers(value.maintenance)) importMaintenance(value.maintenance, ['maintenance'], '*', imported);
}

function importEndpoint(endpoint: Members, path: Path, channels: Channels, imported: Imported): void {
  const name = nameOf(endpoint);
  imported.leaveOutOthers(endpoint, path, known, `endpoint ${name}`);
  const check = checkOf(endpoint, path, name, imported);
  if (check === undefined) return;
  const common = { ...baseOf(endpoint), enabled: endpoint.enabled === false ? false : undefined };
  const id = imported.add('service', name, definedOnly({ ...common, statusConfig: check.main }), path);
  if (id === undefined) return;
  const ids = [id];
  if (check.certificate !== undefined) {
    const definition = definedOnly({ ...common, statusConfig: check.certificate });
    const other = imported.add('service', `${name}-certificate`, definition, path);
    if (other !== undefined) ids.push(other);
  }
  for (const each of ids) importAlerts(endpoint.alerts, [...path, 'alerts'], each, channels, imported);
  for (const [i, window] of itemsOf(endpoint['maintenance-windows']).entries()) {
    for (const each of ids) importMaintenance(window, [...path, 'maintenance-windows', i], each, imported);
  }
}

/** Endpoints that report from outside are services without a check, or with a heartbeat. */
function importExternal(endpoint: Members, path: Path, channels: Channels, imported: Imported): void {
  const name = nameOf(endpoint);
  const members = ['enabled', 'name', 'group', 'token', 'heartbeat', 'alerts'];
  imported.leaveOutOthers(endpoint, path, members, `external endpoint ${name}`);
  if (endpoint.token !== undefined) {
    imported.leaveOut([...path, 'token'], `external endpoint ${name}: its token; make an address to ping in its place`);
  }
  const interval = isMembers(endpoint.heartbeat) ? endpoint.heartbeat.interval : undefined;
  const period_ms = interval === undefined ? undefined : foreignDuration(interval);
  if (interval !== undefined && period_ms === undefined) {
    imported.leaveOut([...path, 'heartbeat', 'interval'], `external endpoint ${name}: interval is not a duration`);
  }
  const statusConfig =
    period_ms === undefined ? undefined : { check: 'heartbeat', period: durationText(period_ms), grace: '0s' };
  const definition = { ...baseOf(endpoint), statusConfig, enabled: endpoint.enabled === false ? false : undefined };
  const id = imported.add('service', name, definedOnly(definition), path);
  if (id !== undefined) importAlerts(endpoint.alerts, [...path, 'alerts'], id, channels, imported);
}

const days = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];

/** Gatus begins a window at a time of the day; `every` names the days, by default all. */
function importMaintenance(window: Members, path: Path, service: string, imported: Imported): void {
  imported.leaveOutOthers(window, path, ['enabled', 'start', 'duration', 'timezone', 'every'], 'maintenance');
  if (window.enabled === false) return;
  const [, hour, minute] = /^(\d{2}):(\d{2})$/.exec(String(window.start)) ?? [];
  const duration_ms = foreignDuration(window.duration);
  const every = Array.isArray(window.every) ? window.every.map((day) => days.indexOf(String(day))) : [];
  if (hour === undefined || duration_ms === undefined || every.includes(-1)) {
    imported.leaveOut(path, 'maintenance: expected start hh:mm, a duration, and names of days');
    return;
  }
  const definition = {
    title: service === '*' ? 'Maintenance' : `Maintenance of ${service}`,
    services: [service],
    cron: `${Number(minute)} ${Number(hour)} * * ${every.length === 0 ? '*' : [...every].sort().join(',')}`,
    duration: durationText(duration_ms),
    timeZone: typeof window.timezone === 'string' ? window.timezone : 'UTC',
  };
  imported.add('maintenance', service === '*' ? 'maintenance' : `${service}-maintenance`, definition, path);
}

function nameOf({ group, name }: Members): string {
  return typeof group === 'string' && group !== '' ? `${group}_${String(name)}` : String(name);
}

function baseOf({ group, name }: Members): Members {
  return { label: String(name), ...(typeof group === 'string' && { stack: group }) };
}
