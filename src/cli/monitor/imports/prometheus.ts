import { durationText } from '../../../monitoring/duration.ts';
import { severities } from '../../../monitoring/resources/rule.ts';
import { isMembers } from '../../../monitoring/resources/secret-places.ts';
import type { Path } from '../yaml-file.ts';
import { definedOnly, foreignDuration, type Imported, itemsOf } from './imported.ts';

type Members = Record<string, unknown>;

const groupMembers = ['name', 'interval', 'query_offset', 'labels', 'rules'];
const ruleMembers = [
  'alert',
  'expr',
  'condition',
  'threshold',
  'serviceId',
  'for',
  'keep_firing_for',
  'labels',
  'annotations',
];

/** Prometheus looks this far back for the newest sample of a series. */
const lookback = '5m';

/**
 * Alert rules of Prometheus as rules over `service_metrics`. The label `service_id` is the service; other labels are tags. In
 * place of `expr`, a rule may have `condition`, `threshold` and `serviceId`.
 */
export function importPrometheus(value: Members, imported: Imported): void {
  imported.leaveOutOthers(value, [], ['groups'], 'file');
  for (const [i, group] of itemsOf(value.groups).entries()) {
    const path: Path = ['groups', i];
    imported.leaveOutOthers(group, path, groupMembers, `group ${String(group.name)}`);
    for (const [k, rule] of itemsOf(group.rules).entries()) importRule(group, rule, [...path, 'rules', k], imported);
  }
}

function importRule(group: Members, rule: Members, path: Path, imported: Imported): void {
  if (typeof rule.alert !== 'string') {
    imported.leaveOut(path, `recording rule ${String(rule.record)}: only alerts have a counterpart`);
    return;
  }
  const name = rule.alert;
  imported.leaveOutOthers(rule, path, ruleMembers, `alert ${name}`);
  const condition = rule.expr === undefined ? ownCondition(rule) : conditionOf(String(rule.expr));
  if (typeof condition === 'string') {
    imported.leaveOut([...path, 'expr'], `alert ${name}: ${condition}`);
    return;
  }
  const { severity: severityLabel, ...labels } = { ...membersOf(group.labels), ...membersOf(rule.labels) };
  const severity = severities.find((each) => each === severityLabel);
  if (severityLabel !== undefined && severity === undefined) {
    const message = `severity ${String(severityLabel)} is none of ${severities.join(', ')}; the rule has the severity error`;
    imported.leaveOut([...path, 'labels', 'severity'], `alert ${name}: ${message}`);
  }
  const time = (owner: Members, ownerPath: Path, member: string) => {
    if (owner[member] === undefined) return undefined;
    const found_ms = foreignDuration(owner[member]);
    if (found_ms === undefined) imported.leaveOut([...ownerPath, member], `${member} is not a duration`);
    return found_ms === undefined ? undefined : durationText(found_ms);
  };
  const groupPath = path.slice(0, 2);
  const definition = {
    ruleName: name,
    ...condition,
    severity,
    for: time(rule, path, 'for'),
    keepFiring: time(rule, path, 'keep_firing_for'),
    delay: time(group, groupPath, 'query_offset'),
    interval: atLeastMinute(time(group, groupPath, 'interval'), [...groupPath, 'interval'], name, imported),
    labels: Object.keys(labels).length === 0 ? undefined : texts(labels),
    annotations: isMembers(rule.annotations) ? annotationsOf(rule.annotations, path, name, imported) : undefined,
  };
  imported.add('rule', name, definedOnly(definition), path);
}

/** The minute is the shortest interval. */
function atLeastMinute(text: string | undefined, path: Path, name: string, imported: Imported): string | undefined {
  const found_ms = text === undefined ? 60_000 : (foreignDuration(text) ?? 60_000);
  if (found_ms >= 60_000) return text;
  imported.leaveOut(
    path,
    `alert ${name}: interval ${text} is shorter than a minute; the rule is evaluated each minute`,
  );
  return undefined;
}

function annotationsOf(annotations: Members, path: Path, name: string, imported: Imported): Record<string, string> {
  for (const [member, value] of Object.entries(annotations)) {
    const [found] = [...String(value).matchAll(/\{\{(.*?)\}\}/gs)]
      .map(([, inner = '']) => inner.trim())
      .filter((inner) => !/^\$(?:value|labels\.[A-Za-z_][A-Za-z0-9_]*)$/.test(inner));
    if (found === undefined) continue;
    const message = `alert ${name}: the template {{ ${found} }} has no counterpart and stays as text`;
    imported.leaveOut([...path, 'annotations', member], message);
  }
  return texts(annotations);
}

type Condition = { serviceId: string; condition: string; threshold: number };

function ownCondition({ condition, threshold, serviceId }: Members): Condition | string {
  if (typeof condition !== 'string' || typeof threshold !== 'number')
    return 'expected expr, or condition and threshold';
  return { serviceId: typeof serviceId === 'string' ? serviceId : '*', condition, threshold };
}

const selector = /^(?<metric>[A-Za-z_:][A-Za-z0-9_:]*)\s*(?:\{(?<matchers>[^}]*)\})?\s*(?:\[(?<range>\w+)\])?$/;
const comparison =
  /^(?<left>.+?)\s*(?<operator>>=|<=|==|!=|>|<)\s*(?<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)$/is;
const overTime = /^(?<name>avg|min|max|sum|count|last)_over_time\s*\(\s*(?<inner>.*?)\s*\)$/s;
const forms = 'only metric{tag="x"} > n and avg|min|max|sum|count|last_over_time(metric{…}[5m]) > n map exactly';

/** The condition of an expression; a text why it has none. */
function conditionOf(expr: string): Condition | string {
  const { left, operator, number } = comparison.exec(expr.trim())?.groups ?? {};
  if (left === undefined) {
    const called = /^\s*(\w+)\s*\(/.exec(expr)?.[1];
    return called === 'absent' ? 'absent() has no exact counterpart; no_data watches the rows of a service' : forms;
  }
  const { name, inner } = overTime.exec(left)?.groups ?? {};
  const { metric, matchers = '', range } = selector.exec(inner ?? left)?.groups ?? {};
  if (metric === undefined || (name === undefined) !== (range === undefined)) return forms;
  const window_ms = foreignDuration(range ?? lookback);
  if (window_ms === undefined) return `[${range}] is not a duration`;
  const tags = tagsOf(matchers);
  if (typeof tags === 'string') return tags;
  const { service_id: serviceId = '*', ...others } = tags;
  const where = Object.entries(others).map(([tag, value]) => `tags.${tag} = ${quote(value)}`);
  const over = `metric(${quoteName(metric)}, ${name ?? 'last'}) over ${durationText(window_ms)}`;
  const condition = [over, ...(where.length > 0 ? [`where ${where.join(' and ')}`] : []), operator].join(' ');
  return { serviceId, condition, threshold: Number(number) };
}

/** Labels of equality matchers; a text for other ones. */
function tagsOf(matchers: string): Record<string, string> | string {
  const tags: Record<string, string> = {};
  const matcher = /\s*([A-Za-z_]\w*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)/y;
  while (matcher.lastIndex < matchers.trimEnd().length) {
    const [, tag, operator, value = ''] = matcher.exec(matchers) ?? [];
    if (tag === undefined) return `{${matchers}} is not understood`;
    if (operator !== '=') return `the matcher ${tag}${operator} has no counterpart`;
    if (tags[tag] !== undefined) return `the label ${tag} has two matchers`;
    const text = textOf(value);
    if (text === undefined) return `"${value}" is not understood`;
    tags[tag] = text;
  }
  return tags;
}

/** A text of PromQL without its escapes; those that JSON does not have are undefined. */
function textOf(quoted: string): string | undefined {
  try {
    return JSON.parse(`"${quoted}"`) as string;
  } catch {
    return undefined;
  }
}

function quote(text: string): string {
  return `'${text.replaceAll(/[\\']/g, '\\$&')}'`;
}

function quoteName(name: string): string {
  return /^[A-Za-z0-9_]+$/.test(name) ? name : quote(name);
}

function membersOf(value: unknown): Members {
  return isMembers(value) ? value : {};
}

function texts(members: Members): Record<string, string> {
  return Object.fromEntries(Object.entries(members).map(([name, value]) => [name, String(value)]));
}
