/**
 * A program that works on jobs until none is due, and is killed at one of its calls to a store. Its argument is the fault as
 * JSON; without one it prints its calls.
 */
import { createContext } from '../../src/create-context.ts';
import { runDueJobs } from '../../src/jobs/runner.ts';
import { jobHandlers } from '../../src/operations/job-handlers.ts';
import { type Fault, inject } from './injection.ts';

const ctx = { ...createContext(process.env), log: () => undefined };
const fault = process.argv[2] === undefined ? undefined : (JSON.parse(process.argv[2]) as Fault);
const counted = inject(ctx, fault);
void counted.died.then(() => process.kill(process.pid, 'SIGKILL'));

/** Claims are renewed by the clock: such a call comes anywhere between the others, and is not counted. */
const rows: typeof ctx.postgres.rows = (sql, params) =>
  (sql.startsWith('update jobs set claimed_until') ? ctx : counted).postgres.rows(sql, params);
const transaction: typeof ctx.postgres.transaction = (statements) => counted.postgres.transaction(statements);

await runDueJobs({ ...counted, postgres: { rows, transaction } }, jobHandlers, Date.now() + 60_000);
process.stdout.write(JSON.stringify(counted.calls));
