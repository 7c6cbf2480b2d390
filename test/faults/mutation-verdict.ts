import { basename } from 'node:path';
import type { Run } from './mutated-copy.ts';

/** `test`: the full name of the failed test. `unproven`: the run failed, and not because a test missed the rule. */
export type Verdict =
  | { kind: 'noticed'; test: string; message: string }
  | { kind: 'unnoticed' }
  | { kind: 'unproven'; reason: string };

/** Failures of the code or of the machine: they would be there whatever the test expects. */
const unrelated = [
  /^(Reference|Syntax)Error\b/,
  /^\w*Error: (Test|Hook) timed out/,
  /ECONNREFUSED|EADDRINUSE|ENOSPC|ENOMEM/,
];

export function verdictOf({ report, problem }: Run): Verdict {
  if (report === undefined) return { kind: 'unproven', reason: `no report: ${problem}` };
  const tests = report.testResults.flatMap(({ name, assertionResults }) =>
    assertionResults.map((each) => ({ file: basename(name), ...each })),
  );
  const failed = tests.find(({ status }) => status === 'failed');
  if (failed !== undefined) {
    const message = failed.failureMessages[0] ?? '';
    const test = `${failed.file}: ${failed.fullName}`;
    const isUnrelated = unrelated.some((pattern) => pattern.test(message));
    if (isUnrelated) return { kind: 'unproven', reason: `${test}: ${message.slice(0, 500)}` };
    return { kind: 'noticed', test, message: message.slice(0, 300) };
  }
  const message = report.testResults.map((each) => each.message).find((each) => each !== '');
  if (!report.success) return { kind: 'unproven', reason: `no test failed: ${message ?? problem}` };
  if (!tests.some(({ status }) => status === 'passed')) return { kind: 'unproven', reason: 'no test ran' };
  return { kind: 'unnoticed' };
}
