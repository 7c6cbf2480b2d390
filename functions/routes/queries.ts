import { ApiError } from '../../src/core/errors.ts';
import { cancelQuery } from '../../src/query/execution/cancel.ts';
import { idParams } from '../http/params.ts';
import { route } from '../http/route.ts';

export const runningQueryRoutes = [
  route(
    {
      method: 'delete',
      path: '/v1/queries/:id',
      scope: ['query', 'sql'],
      tag: 'Query',
      metricClass: 'cancel',
      summary: 'Cancel a query',
      description:
        'A query has the id of its request: the `x-request-id` that it was sent with, or that its answer has. Only the key that ' +
        'began it can cancel it; other keys get 404. It is gone from ClickHouse within a second.',
      params: idParams('of the request that began it'),
      responses: { 204: { description: 'It ends' } },
      example: { path: { id: 'a4e2b3f0-0f5b-4f0f-9b1e-0d5a5f2f7c11' } },
    },
    async ({ c, ctx, key, params: { id } }) => {
      const isFound = await cancelQuery(ctx, { actor: key.id, requestId: id });
      if (!isFound) throw new ApiError('not-found', `No query ${id.slice(0, 128)} of this key is running.`);
      return c.body(null, 204);
    },
  ),
];
