import * as z from 'zod';
import { ApiError } from '../../src/core/errors.ts';
import { exportFormat } from '../../src/operations/export/day.ts';
import {
  type ExportSchedule,
  listSchedules,
  removeSchedule,
  setSchedule,
} from '../../src/operations/export/schedule.ts';
import { queryBody } from '../../src/query/request/parse.ts';
import { timeText } from '../http/paging.ts';
import { tableParams } from '../http/params.ts';
import { route } from '../http/route.ts';

const scheduleBody = z.strictObject({
  hour: z.int().min(0).max(23).meta({ description: 'of the day, in UTC' }),
  days: z.int().min(1).max(366).default(1).meta({ description: 'so many whole days before it, each time' }),
  format: exportFormat.default('parquet'),
  columns: queryBody.shape.columns,
});

const scheduleSchema = z
  .object({
    dataset: z.string(),
    table: z.string(),
    hour: z.int(),
    days: z.int(),
    format: exportFormat,
    columns: z.array(z.string()).nullable(),
    nextAt: z.string().meta({ description: 'it begins within an hour of then' }),
    actor: z.string(),
  })
  .meta({ id: 'ExportSchedule' });

const schedulePath = '/v1/admin/datasets/:dataset/tables/:table/export-schedule';
const exampleTable = { path: { dataset: 'demo', table: 'readings' } };

export const exportScheduleRoutes = [
  route(
    {
      method: 'put',
      path: schedulePath,
      scope: 'admin',
      tag: 'Exports',
      summary: 'Export every day',
      description:
        'From then on whole days are exported at an hour of each day; one that was missed is made up for. A table has one schedule.',
      params: tableParams,
      body: scheduleBody,
      responses: { 200: { description: 'The schedule', schema: scheduleSchema } },
      example: { ...exampleTable, body: { hour: 3, days: 1 } },
    },
    async ({ ctx, params: { dataset, table }, body, json }) => {
      const { columns = null, ...rest } = body;
      return json(200, scheduleView(await setSchedule(ctx, { dataset, table, columns, ...rest })));
    },
  ),
  route(
    {
      method: 'delete',
      path: schedulePath,
      scope: 'admin',
      tag: 'Exports',
      summary: 'Export no more',
      params: tableParams,
      responses: { 204: { description: 'There is no schedule' } },
      example: exampleTable,
    },
    async ({ c, ctx, params: { dataset, table } }) => {
      if (await removeSchedule(ctx, dataset, table)) return c.body(null, 204);
      throw new ApiError('not-found', `Table ${table} of dataset ${dataset} has no export schedule.`);
    },
  ),
  route(
    {
      method: 'get',
      path: '/v1/admin/export-schedules',
      scope: 'admin',
      tag: 'Exports',
      summary: 'List export schedules',
      responses: { 200: { description: 'All of them', schema: z.object({ schedules: z.array(scheduleSchema) }) } },
      example: {},
    },
    async ({ ctx, key, json }) => {
      const schedules = await listSchedules(ctx, key.listed('admin'));
      return json(200, { schedules: schedules.map(scheduleView) });
    },
  ),
];

function scheduleView({ nextAt_ms, life: _, ...schedule }: ExportSchedule): z.input<typeof scheduleSchema> {
  return { ...schedule, nextAt: timeText(nextAt_ms) };
}
