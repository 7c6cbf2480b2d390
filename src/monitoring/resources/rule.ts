import * as z from 'zod';
import { duration } from '../duration.ts';
import { labels, resourceId, serviceSelector } from './common.ts';

export const severities = ['critical', 'error', 'warning', 'info'] as const;
export type Severity = (typeof severities)[number];

const step = z.strictObject({
  after: duration({ least: '1m', most: '7d' }).meta({ description: 'time since the alert fired' }),
  channels: z.array(resourceId).min(1).max(20),
});

/** An alert rule. `condition` is checked by alerts/condition.ts when the rule is written. */
export const ruleDefinition = z.strictObject({
  ruleName: z.string().min(1).max(200),
  serviceId: serviceSelector,
  condition: z
    .string()
    .min(1)
    .max(1_000)
    .meta({
      description: 'a value and a comparison with `threshold`',
      examples: ['failures_in_a_row >=', 'failure_rate over 5m >', 'avg(response_time_ms) over 5m >', 'no_data >'],
    }),
  threshold: z.number(),
  severity: z.enum(severities).default('error'),
  notificationChannels: z.array(resourceId).max(20).default([]),
  for: duration({ least: '0s', most: '7d' })
    .default('0s')
    .meta({ description: 'how long the condition holds before the alert fires' }),
  keepFiring: duration({ least: '0s', most: '7d' })
    .default('0s')
    .meta({ description: 'how long the condition is over before the alert is resolved' }),
  successesToRecover: z.int().min(1).max(100).default(1),
  resolveThreshold: z.number().optional().meta({ description: 'a firing alert is resolved only beyond this value' }),
  noData: z.enum(['keep', 'alert', 'ok']).default('keep').meta({ description: 'what missing rows mean' }),
  noDataAfter: duration({ least: '10s', most: '30d' })
    .optional()
    .meta({ description: 'default: three intervals of the service' }),
  noDataFor: duration({ least: '0s', most: '7d' }).default('0s'),
  forgetAfter: duration({ least: '5m', most: '90d' })
    .optional()
    .meta({ description: 'an alert without rows for this time is resolved as missing' }),
  errorAfter: duration({ least: '1m', most: '1d' })
    .default('5m')
    .meta({ description: 'how long a rule may not be evaluated before that is an alert' }),
  minSamples: z
    .int()
    .min(1)
    .max(10_000)
    .default(3)
    .meta({ description: 'rows of a window below which a rate says nothing' }),
  delay: duration({ least: '0s', most: '1h' })
    .default('0s')
    .meta({ description: 'for rows that are acknowledged late' }),
  labels: labels.default({}),
  annotations: labels.default({}),
  repeat: duration({ least: '5m', most: '7d' }).default('4h'),
  escalation: z.array(step).max(10).default([]),
  enabled: z.boolean().default(true),
});

export type RuleDefinition = z.output<typeof ruleDefinition>;
/** `actor` is the key that wrote the rule last: a rule with saved SQL reads with its rights. */
export type Rule = RuleDefinition & { ruleId: string; revision: number; actor: string };
