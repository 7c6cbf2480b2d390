import * as z from 'zod';
import { type LogLine, readLog } from '../../src/catalog/audit-log/read.ts';
import { ApiError } from '../../src/core/errors.ts';
import { nextSchema, numberedQuery, numberOf, pageOf, timeText, wanted } from '../http/paging.ts';
import { route } from '../http/route.ts';

const lineSchema = z
  .object({
    n: z.int(),
    at: z.string(),
    actor: z
      .string()
      .meta({ description: 'id of a key; `admin` for the admin key of the deployment; `cron`; `unknown`' }),
    requestId: z.string(),
    action: z
      .string()
      .meta({ description: 'name of a change, such as `table.change`; method and route of a denied request' }),
    outcome: z.enum(['done', 'refused']),
    dataset: z.string().nullable(),
    table: z.string().nullable(),
    count: z.int().meta({ description: 'number of equal denied requests within a second, which share a line' }),
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
  from: time.meta({ description: 'earliest time, included' }),
  to: time.meta({ description: 'latest time, excluded' }),
});

export const auditLogRoutes = [
  route(
    {
      method: 'get',
      path: '/v1/admin/audit-log',
      scope: 'admin',
      tag: 'Catalogue',
      summary: 'List audit log entries',
      description:
        'Lists changes and denied requests, newest first. A key for some datasets sees the entries of those datasets.',
      query: logQuery,
      responses: {
        200: { description: 'A page of entries', schema: z.object({ lines: z.array(lineSchema), next: nextSchema }) },
      },
      example: { query: { dataset: 'demo', outcome: 'done' } },
    },
    async ({ ctx, key, query: { cursor, limit, from, to, ...filter }, json }) => {
      const [from_ms, to_ms] = [from, to].map((each) => (each === undefined ? undefined : Date.parse(each)));
      if (from_ms !== undefined && to_ms !== undefined && from_ms > to_ms) {
        throw new ApiError('invalid-request', 'from: must not be later than to.');
      }
      const found = await readLog(
        ctx,
        { ...filter, from_ms, to_ms, before: numberOf(cursor), datasets: key.listed('admin') },
        wanted(limit),
      );
      const { items, last } = pageOf(found, limit);
      return json(200, { lines: items.map(renderLine), next: last === undefined ? null : String(last.n) });
    },
  ),
];

function renderLine({ at_ms, ...line }: LogLine): z.input<typeof lineSchema> {
  return { ...line, at: timeText(at_ms) };
}
