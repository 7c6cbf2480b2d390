import { ApiError } from '../../src/core/errors.ts';
import { cancelQuery } from '../../src/query/execution/cancel.ts';
import { routes } from '../http/app.ts';
import { requireScope } from '../http/auth.ts';
import { openApiRoute } from '../http/openapi-route.ts';

export const queriesRoutes = routes().delete(
  '/v1/queries/:id',
  openApiRoute({
    summary: 'Cancel a query',
    description:
      'A query has the id of its request: the `x-request-id` that it was sent with, or that its answer has. Only the key that ' +
      'began it can cancel it; other keys get 404. It is gone from ClickHouse within a second.',
    tag: 'Query',
    kind: 'cancel',
    parameters: { id: 'of the request that began it' },
    example: { path: { id: 'a4e2b3f0-0f5b-4f0f-9b1e-0d5a5f2f7c11' } },
    answers: { 204: { description: 'It ends' } },
    errors: ['not-found'],
  }),
  requireScope('query', 'sql'),
  async (c) => {
    const id = c.req.param('id');
    const isFound = await cancelQuery(c.get('ctx'), { actor: c.get('key').id, requestId: id });
    if (!isFound) throw new ApiError('not-found', `No query ${id.slice(0, 128)} of this key is running.`);
    return c.body(null, 204);
  },
);
