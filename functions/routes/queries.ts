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
        'The id of a query is the id of its request: the `x-request-id` of the request or of the response. Only the key that sent ' +
        'the query can cancel it; for other keys the response is 404. ClickHouse stops the query within a second.',
      params: idParams('id of the request of the query'),
      responses: { 204: { description: 'The query is cancelled' } },
      example: { path: { id: 'a4e2b3f0-0f5b-4f0f-9b1e-0d5a5f2f7c11' } },
    },
    async ({ c, ctx, key, params: { id } }) => {
      const isFound = await cancelQuery(ctx, { actor: key.id, requestId: id });
      if (!isFound) throw new ApiError('not-found', `No query ${id.slice(0, 128)} of this key is running.`);
      return c.body(null, 204);
    },
  ),
];
