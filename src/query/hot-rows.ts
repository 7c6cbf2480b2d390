import type { Answer, Format } from './answer.ts';
import type { Cut } from './cut.ts';
import type { QueryBody, QueryPlan } from './request.ts';

export function hotRows(_cut: Cut, _plan: QueryPlan, _body: QueryBody, _format: Format): Answer | undefined {
  return undefined;
}
