import * as z from 'zod';
import { type LogLine, readLog } from '../../src/catalog/audit-log/read.ts';
import { ApiError } from '../../src/core/errors.ts';
import { nextSchema, numberedQuery, numberOf, pageOf, timeText, wanted } from '../http/paging.ts';
import { route } from '../http/route.ts';

const lineSchema = z
  .object({
    n: z.int(),
    at: z.string(),
    actor: z.string().meta({ description: 'id of a key; `admin`: the deployment’s own; `cron`; `unknown`' }),
    requestId: z.string(),
    action: z.string().meta({ description: '`table.change`, …; of a refused access its method and route' }),
    outcome: z.enum(['done', 'refused']),
    dataset: z.string().nullable(),
    table: z.string().nullable(),
    count: z.int().meta({ description: 'refused accesses of one kind within a second are one line' }),
    detail: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'AuditLine' });

const time = z.iso.datetime({ offset: true }).optional();

const logQuery = z.strictObject({
  ...numberedQuery,
  dataset: z.string().optional(),
  actor: z.string().optional(),
  action: z.string().optional(),
  outcome: z.enum(['done', 'refused']).optional(),
  from: time.meta({ description: 'lines since then' }),
  to: time.meta({ description: 'and before then' }),
});

export const auditLogRoutes = [
  route(
    {
      method: 'get',
      path: '/v1/admin/audit-log',
      scope: 'admin',
      tag: 'Catalogue',
      summary: 'Who changed what',
      description:
        'One line for each change and each refused access, the newest first. A key that lists datasets sees the lines of those.',
      query: logQuery,
      responses: { 200: { description: 'A page', schema: z.object({ lines: z.array(lineSchema), next: nextSchema }) } },
      example: { query: { dataset: 'demo', outcome: 'done' } },
    },
    async ({ ctx, key, query: { cursor, limit, from, to, ...filter }, json }) => {
      const [from_ms, to_ms] = [from, to].map((each) => (each === undefined ? undefined : Date.parse(each)));
      if (from_ms !== undefined && to_ms !== undefined && from_ms > to_ms) {
        throw new ApiError('invalid-request', 'from: it is after to.');
      }
      const found = await readLog(
        ctx,
        { ...filter, from_ms, to_ms, before: numberOf(cursor), datasets: key.listed('admin') },
        wanted(limit),
      );
      const { items, last } = pageOf(found, limit);
      return json(200, { lines: items.map(viewOf), next: last === undefined ? null : String(last.n) });
    },
  ),
];

function viewOf({ at_ms, ...line }: LogLine): z.input<typeof lineSchema> {
  return { ...line, at: timeText(at_ms) };
}
