import { quoteString } from '../../core/identifiers.ts';
import { durationOf } from '../duration.ts';
import { checkInterval_ms } from '../resources/interval.ts';
import type { Rule } from '../resources/rule.ts';
import type { Service } from '../resources/service.ts';
import { statusCodes } from '../status.ts';
import { type Condition, parseCondition, type WindowFunction } from './condition.ts';

export const sourceTables = ['service_status', 'service_metrics', 'service_logs'] as const;
export type SourceTable = (typeof sourceTables)[number];

/** Columns of the facts of one rule and service, by their names in the statement. Not every condition has all of them. */
export type FeatureNames = {
  value: string;
  /** Rows that the value is made of. */
  samples?: string;
  /** First breaching row; last change from failed to ok. In milliseconds since 1970; null without such a row. */
  breachAt?: string;
  okAt?: string;
  /** Newest row of what the rule watches. */
  lastAt?: string;
};

/** Expressions over `service_status` that every evaluation needs, by name. */
export const statusFacts = { lastAt: 'f0', lastCode: 'f1', lastFailedAt: 'f2' };

/** Expressions over the rows of services with a heartbeat, by name. */
export const heartbeatFacts = { lastSignal: 'f0', lastStart: 'f1' };

/** A statement of an evaluation: over a table, or over the signals of heartbeats, which it looks for further back. */
export type PlanName = SourceTable | 'heartbeats';

/** One statement over a table: expressions by name, and how far back it reads. */
export type TablePlan = {
  name: PlanName;
  table: SourceTable;
  expressions: Map<string, string>;
  lookback_ms: number;
  /** Undefined: all services. */
  serviceIds?: string[];
};

export type RulePlan = { rule: Rule; condition: Condition; table: SourceTable; names: FeatureNames };

const day_ms = 86_400_000;
const lookback_ms_min = 900_000;
const lookback_ms_max = 7 * day_ms;
/** Rows are kept for 90 days. */
const heartbeat_ms_max = 90 * day_ms;
/** Results that `failures_in_a_row` looks at. */
const results_max = 120;

/**
 * The statements that find the facts of rules: rules that ask the same share an expression, so that many rules over many
 * services are a few expressions.
 *
 * The statement groups rows by the time `_e` of an evaluation and by service. A row has `at`, its time in milliseconds, and
 * `place`, which orders rows with the same time.
 */
export function planFacts(rules: Rule[], services: Service[]): { plans: RulePlan[]; tables: TablePlan[] } {
  const tables = new Map<SourceTable, TablePlan>();
  const plans: RulePlan[] = [];
  const interval_ms = Math.max(60_000, ...services.map(checkInterval_ms));
  tables.set('service_status', {
    name: 'service_status',
    table: 'service_status',
    expressions: new Map([
      [statusFacts.lastAt, 'maxIfOrNull(at, at <= _e)'],
      [statusFacts.lastCode, 'argMax(status_code, place)'],
      [statusFacts.lastFailedAt, `maxIfOrNull(at, status_code = ${statusCodes.failed})`],
    ]),
    lookback_ms: Math.min(lookback_ms_max, Math.max(lookback_ms_min, 3 * interval_ms)),
  });
  for (const rule of rules) {
    const parsed = parseCondition(rule.condition);
    if ('problem' in parsed) continue;
    const { condition } = parsed;
    const table = tableOf(condition);
    const plan: TablePlan = tables.get(table) ?? {
      name: table,
      table,
      expressions: new Map(),
      lookback_ms: lookback_ms_min,
    };
    tables.set(table, plan);
    const name = (sql: string) => {
      const found = [...plan.expressions].find(([, each]) => each === sql)?.[0];
      if (found !== undefined) return found;
      const fresh = `f${plan.expressions.size}`;
      plan.expressions.set(fresh, sql);
      return fresh;
    };
    const delay_ms = durationOf(rule.delay) ?? 0;
    plans.push({ rule, condition, table, names: namesOf(condition, delay_ms, name) });
    const needed_ms = neededLookback_ms(rule, condition, interval_ms) + delay_ms;
    plan.lookback_ms = Math.min(lookback_ms_max, Math.max(plan.lookback_ms, needed_ms));
  }
  const heartbeats = services.filter(({ statusConfig }) => statusConfig?.check === 'heartbeat');
  return { plans, tables: [...tables.values(), ...(heartbeats.length > 0 ? [heartbeatPlan(heartbeats)] : [])] };
}

/** A success and a failure are signs of life both. */
function heartbeatPlan(services: Service[]): TablePlan {
  const { starting, unknown } = statusCodes;
  return {
    name: 'heartbeats',
    table: 'service_status',
    expressions: new Map([
      [heartbeatFacts.lastSignal, `maxIfOrNull(at, at <= _e AND status_code NOT IN (${starting}, ${unknown}))`],
      [heartbeatFacts.lastStart, `maxIfOrNull(at, at <= _e AND status_code = ${starting})`],
    ]),
    lookback_ms: heartbeat_ms_max,
    serviceIds: services.map(({ serviceId }) => serviceId),
  };
}

function tableOf({ kind }: Condition): SourceTable {
  if (kind === 'metric') return 'service_metrics';
  if (kind === 'logs') return 'service_logs';
  return 'service_status';
}

function neededLookback_ms(rule: Rule, condition: Condition, interval_ms: number): number {
  const noData_ms = 2 * (durationOf(rule.noDataAfter ?? '') ?? 3 * interval_ms);
  if ('window_ms' in condition) return Math.max(condition.window_ms, noData_ms);
  if (condition.kind === 'failures-in-a-row') return Math.max((rule.threshold + 2) * 2 * interval_ms, noData_ms);
  if (condition.kind === 'no-data') return Math.max(2_000 * rule.threshold, noData_ms);
  return noData_ms;
}

function namesOf(condition: Condition, delay_ms: number, name: (sql: string) => string): FeatureNames {
  const until = delay_ms === 0 ? 'at <= _e' : `at <= _e - ${delay_ms}`;
  const within = (window_ms: number) => `${until} AND at > _e - ${delay_ms + window_ms}`;
  switch (condition.kind) {
    case 'failures-in-a-row':
      return failuresInARow(condition.isDegradedCounted, until, name);
    case 'failure-rate': {
      const window = within(condition.window_ms);
      const failed = `status_code = ${statusCodes.failed}`;
      return {
        value: name(`100 * countIf(${window} AND ${failed}) / countIf(${window})`),
        samples: name(`countIf(${window})`),
        breachAt: name(`minIfOrNull(at, ${window} AND ${failed})`),
        lastAt: name(`maxIfOrNull(at, ${until})`),
      };
    }
    case 'status': {
      const { column, function: aggregate, window_ms } = condition;
      return {
        value: name(aggregateSql(aggregate, column, within(window_ms))),
        samples: name(`countIf(${within(window_ms)} AND isNotNull(${column}))`),
        lastAt: name(`maxIfOrNull(at, ${until})`),
      };
    }
    case 'metric': {
      const { metric, function: aggregate, tags, window_ms } = condition;
      const isMeant = [
        `metric_name = ${quoteString(metric)}`,
        ...tags.map((tag) => `tags[${quoteString(tag.name)}] = ${quoteString(tag.value)}`),
      ].join(' AND ');
      const window = `${within(window_ms)} AND ${isMeant}`;
      return {
        value: name(aggregateSql(aggregate, 'metric_value', window)),
        samples: name(`countIf(${window})`),
        lastAt: name(`maxIfOrNull(at, ${until} AND ${isMeant})`),
      };
    }
    case 'logs': {
      const conditions = [within(condition.window_ms)];
      if (condition.level !== undefined) conditions.push(`log_level = ${quoteString(condition.level)}`);
      if (condition.contains !== undefined)
        conditions.push(`position(message, ${quoteString(condition.contains)}) > 0`);
      if (condition.matches !== undefined) conditions.push(`match(message, ${quoteString(condition.matches)})`);
      const window = conditions.join(' AND ');
      return { value: name(`countIf(${window})`), breachAt: name(`minIfOrNull(at, ${window})`) };
    }
    case 'certificate-days': {
      const ends = `parseDateTime64BestEffortOrNull(JSONExtractString(details, 'certificate', 'expiresAt'), 3)`;
      const known = `${until} AND isNotNull(${ends})`;
      return {
        value: name(`(argMaxIf(toUnixTimestamp64Milli(assumeNotNull(${ends})), place, ${known}) - _e) / ${day_ms}`),
        samples: name(`countIf(${known})`),
        lastAt: name(`maxIfOrNull(at, ${until})`),
      };
    }
    case 'no-data': {
      const lastAt = name(`maxIfOrNull(at, ${until})`);
      return { value: name(`(_e - maxIfOrNull(at, ${until})) / 1000`), lastAt };
    }
  }
}

/** The newest results first. An unknown result neither confirms nor ends a series. */
function failuresInARow(isDegradedCounted: boolean, until: string, name: (sql: string) => string): FeatureNames {
  const known = `${until} AND status_code != ${statusCodes.unknown}`;
  const results = `arraySlice(arrayReverseSort(groupArrayIf((place, status_code, at), ${known})), 1, ${results_max})`;
  const failed = isDegradedCounted
    ? `(r.2 IN (${statusCodes.failed}, ${statusCodes.degraded}))`
    : `(r.2 = ${statusCodes.failed})`;
  const run = (isFailed: boolean) => {
    const ends = isFailed ? `NOT ${failed}` : failed;
    const first = `arrayFirstIndex(r -> ${ends}, ${results})`;
    return `if(${first} = 0, length(${results}), ${first} - 1)`;
  };
  const startOf = (isFailed: boolean) => `if(${run(isFailed)} = 0, NULL, (${results})[${run(isFailed)}].3)`;
  return {
    value: name(run(true)),
    samples: name(`countIf(${known})`),
    breachAt: name(startOf(true)),
    okAt: name(startOf(false)),
    lastAt: name(`maxIfOrNull(at, ${until})`),
  };
}

const quantiles: Partial<Record<WindowFunction, number>> = { median: 0.5, p50: 0.5, p90: 0.9, p95: 0.95, p99: 0.99 };

function aggregateSql(aggregate: WindowFunction, column: string, window: string): string {
  const level = quantiles[aggregate];
  if (level !== undefined) return `quantileExactIfOrNull(${level})(${column}, ${window})`;
  if (aggregate === 'count') return `countIf(${column}, ${window})`;
  if (aggregate === 'last') return `argMaxIfOrNull(${column}, place, ${window} AND isNotNull(${column}))`;
  return `${aggregate}IfOrNull(${column}, ${window})`;
}

/** Columns that the statements of a table use. */
export const factColumns: Record<SourceTable, string[]> = {
  service_status: ['status_code', 'response_time_ms', 'cpu_usage', 'memory_usage', 'details'],
  service_metrics: ['metric_name', 'metric_value', 'tags'],
  service_logs: ['log_level', 'message'],
};
