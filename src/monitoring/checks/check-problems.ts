import { Cron } from 'croner';
import type { CheckConfig } from '../resources/check.ts';
import { parseConditions } from './conditions.ts';
import { type GuardSettings, socketProblem, urlProblem } from './guard.ts';
import { secretText } from './target.ts';

type Problem = { path: string; message: string };

/** What the schema of a check cannot say: its conditions, its target, its schedule. Messages contain no secret. */
export function checkProblems(
  settings: GuardSettings,
  { id, check }: { id: string; check: CheckConfig | null },
  secrets: ReadonlyMap<string, string>,
): Problem[] {
  if (check === null) return [];
  if (check.check === 'heartbeat') return scheduleProblems(check);
  const problems: Problem[] = (['conditions', 'degraded'] as const).flatMap((member) =>
    parseConditions(check[member], check.check).problems.map(({ index, message }) => {
      return { path: `statusConfig.${member}.${index}`, message };
    }),
  );
  if (check.check === 'http') {
    const url = secretText(check.url, secrets);
    const problem = url === undefined ? undefined : urlProblem(url, settings);
    // The host of a secret that this request does not contain stays unknown.
    const isOwn = typeof check.url === 'string' || check.url.secret === `service.${id}.url`;
    if (problem !== undefined) {
      const message = isOwn ? problem : 'the secret is not an address that this deployment may check';
      problems.push({ path: 'statusConfig.url', message });
    }
  } else if (check.check !== 'dns') {
    const problem = socketProblem(check.host, check.port, settings);
    if (problem !== undefined) problems.push({ path: 'statusConfig.host', message: problem });
  }
  return problems;
}

function scheduleProblems({ cron, timeZone }: Extract<CheckConfig, { check: 'heartbeat' }>): Problem[] {
  if (cron === undefined || timeZone === undefined) return [];
  try {
    const runs = new Cron(cron, { timezone: timeZone }).nextRun();
    return runs === null ? [{ path: 'statusConfig.cron', message: 'it has no run in the future' }] : [];
  } catch {
    return [{ path: 'statusConfig.cron', message: 'it is not a cron expression' }];
  }
}
