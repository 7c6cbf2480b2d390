import { setTimeout as delay } from 'node:timers/promises';
import { msOf } from '../duration.ts';
import type { MonitoredService } from '../resources/store.ts';
import { type StatusCode, statusCodes } from '../status.ts';
import type { Certificate } from './certificate.ts';
import { type Condition, parseConditions } from './conditions.ts';
import { evaluate, type Judgement } from './evaluate.ts';
import { type Attempt, type Observation, type Reason, reasons } from './observation.ts';
import { type ProbeDeps, probe } from './probe.ts';
import type { ActiveCheck } from './target.ts';

/** The result of a run: what its row says. `details` contains neither the target nor a secret. */
export type CheckResult = {
  code: StatusCode;
  reason: Reason | null;
  message: string;
  responseTime_ms: number | null;
  details: Record<string, unknown>;
};

/** Reasons that say nothing about the service. */
const unknownReasons: ReadonlySet<Reason> = new Set([
  'refused-target',
  'missing-secret',
  'unsupported',
  'not-run',
  'resolvers',
  'checker',
]);

/** Another attempt would end in the same way. */
const finalReasons: ReadonlySet<Reason> = new Set(['refused-target', 'missing-secret', 'unsupported']);

const shown_max = 100;

/** Runs a check: up to `attempts` probes, one result. Ends before `until_ms`. Never rejects. */
export async function runCheck(
  ctx: ProbeDeps,
  { check, service }: { check: ActiveCheck; service: Pick<MonitoredService, 'createdAt_ms'> },
  secrets: ReadonlyMap<string, string>,
  until_ms: number,
): Promise<CheckResult> {
  const conditions = parseConditions(check.conditions, check.check).conditions;
  const degraded = parseConditions(check.degraded, check.check).conditions;
  const attempts: { reason: Reason | null; responseTime_ms: number | null }[] = [];
  let last: Outcome = { reason: 'not-run', observed: { isConnected: false }, judged: [] };
  while (attempts.length < check.attempts) {
    if (attempts.length > 0) {
      const pause_ms = msOf(check.attemptPause);
      if (ctx.now() + pause_ms >= until_ms) break;
      await delay(pause_ms);
    }
    const left_ms = until_ms - ctx.now();
    if (left_ms <= 0) break;
    const wanted_ms = msOf(check.timeout);
    const found = await probe(ctx, check, secrets, [...conditions, ...degraded], Math.min(wanted_ms, left_ms));
    const outcome = judge(check, conditions, found);
    // The end of the minute cut it short, which says nothing about the target.
    if (outcome.reason === 'timeout' && left_ms < wanted_ms) {
      if (attempts.length === 0) last = { ...outcome, reason: 'not-run' };
      break;
    }
    last = outcome;
    attempts.push({ reason: last.reason, responseTime_ms: last.observed.responseTime_ms ?? null });
    if (last.reason === null || finalReasons.has(last.reason)) break;
  }
  const slow = last.reason === null ? evaluate(degraded, last.observed).filter(({ holds }) => !holds) : [];
  return resultOf(ctx, check, service, last, slow, attempts);
}

type Outcome = Attempt & { certificate?: Certificate; judged: Judgement[] };

function judge(check: ActiveCheck, conditions: Condition[], found: Attempt & { certificate?: Certificate }): Outcome {
  const { reason, observed } = found;
  // A closed port is what some checks want to see.
  const isAboutConnection = conditions.length > 0 && conditions.every(readsConnectionOnly);
  if (reason !== null && (unknownReasons.has(reason) || !isAboutConnection)) return { ...found, judged: [] };
  const judged = evaluate(conditions, observed);
  const isGood = conditions.length === 0 ? isGoodByDefault(check, observed) : judged.every(({ holds }) => holds);
  if (isGood) return { ...found, reason: null, judged };
  return { ...found, reason: reason ?? 'conditions', judged };
}

function readsConnectionOnly({ left, right }: Condition): boolean {
  return [left, right].every(
    (each) => each.kind === 'literal' || (each.kind === 'source' && each.source.of === 'connected'),
  );
}

/** Without conditions: a status below 400, at least one record, a certificate that has not ended. */
function isGoodByDefault({ check }: ActiveCheck, observed: Observation): boolean {
  if (check === 'http') return (observed.status ?? 0) < 400;
  if (check === 'dns') return observed.dnsRcode === 'NOERROR' && (observed.records ?? []).length > 0;
  if (check === 'certificate') return (observed.certificateExpiresIn_ms ?? 0) > 0;
  return observed.isConnected;
}

function resultOf(
  ctx: ProbeDeps,
  check: ActiveCheck,
  service: Pick<MonitoredService, 'createdAt_ms'>,
  { reason: found, observed, certificate, judged }: Outcome,
  slow: Judgement[],
  attempts: object[],
): CheckResult {
  const reason = found ?? (slow.length > 0 ? 'slow' : null);
  const failing = reason === 'slow' ? slow : judged.filter(({ holds }) => !holds);
  const showsValues = check.check === 'http' && check.showValues;
  const details: Record<string, unknown> = {
    check: check.check,
    reason,
    attempts,
    ...(observed.status !== undefined && { status: observed.status }),
    ...(observed.dnsRcode !== undefined && { rcode: observed.dnsRcode }),
    ...(certificate !== undefined && { certificate }),
    ...(observed.isBodyCut === true && { bodyCut: true }),
    ...(failing.length > 0 && {
      conditions: failing.map(({ text, value }) => {
        return { condition: text, ...(showsValues && { value: value.slice(0, shown_max) }) };
      }),
    }),
  };
  const responseTime_ms = observed.responseTime_ms === undefined ? null : Math.round(observed.responseTime_ms);
  const message = reason === null ? 'OK' : reasons[reason];
  const code = codeOf(reason);
  const isStarting = code === statusCodes.failed && ctx.now() < service.createdAt_ms + msOf(check.startupGrace);
  return { code: isStarting ? statusCodes.starting : code, reason, message, responseTime_ms, details };
}

function codeOf(reason: Reason | null): StatusCode {
  if (reason === null) return statusCodes.ok;
  if (reason === 'slow') return statusCodes.degraded;
  return unknownReasons.has(reason) ? statusCodes.unknown : statusCodes.failed;
}

/** The result of a check of which the checker itself is the problem. */
export function unknownResult(check: ActiveCheck, reason: Reason, details: Record<string, unknown> = {}): CheckResult {
  return {
    code: statusCodes.unknown,
    reason,
    message: reasons[reason],
    responseTime_ms: null,
    details: { check: check.check, attempts: [], ...details, reason },
  };
}
