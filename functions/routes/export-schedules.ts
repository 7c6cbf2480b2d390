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
  hour: z.int().min(0).max(23).meta({ description: 'hour of the day, in UTC' }),
  days: z.int().min(1).max(366).default(1).meta({ description: 'number of whole days in each export' }),
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
    nextAt: z.string().meta({ description: 'the next export starts within an hour of this time' }),
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
      summary: 'Set an export schedule',
      description:
        'Exports whole days at a given hour of every day. A missed export runs later. A table has one schedule.',
      params: tableParams,
      body: scheduleBody,
      responses: { 200: { description: 'The schedule', schema: scheduleSchema } },
      example: { ...exampleTable, body: { hour: 3, days: 1 } },
    },
    async ({ ctx, params: { dataset, table }, body, json }) => {
      const { columns = null, ...rest } = body;
      return json(200, renderSchedule(await setSchedule(ctx, { dataset, table, columns, ...rest })));
    },
  ),
  route(
    {
      method: 'delete',
      path: schedulePath,
      scope: 'admin',
      tag: 'Exports',
      summary: 'Delete an export schedule',
      params: tableParams,
      responses: { 204: { description: 'The schedule is deleted' } },
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
      responses: {
        200: {
          description: 'The schedules of the datasets of the key',
          schema: z.object({ schedules: z.array(scheduleSchema) }),
        },
      },
      example: {},
    },
    async ({ ctx, key, json }) => {
      const schedules = await listSchedules(ctx, key.listed('admin'));
      return json(200, { schedules: schedules.map(renderSchedule) });
    },
  ),
];

function renderSchedule({ nextAt_ms, life: _, ...schedule }: ExportSchedule): z.input<typeof scheduleSchema> {
  return { ...schedule, nextAt: timeText(nextAt_ms) };
}
