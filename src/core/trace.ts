import type { CoreDeps } from './deps.ts';
import { describeError } from './log.ts';
import { currentActor } from './request-context.ts';

/** What is kept of a trace here. Ids as in https://www.w3.org/TR/trace-context/ */
export type Trace = {
  traceId: string;
  /** Of the span that is open here. */
  spanId: string;
  parentId: string | undefined;
  isSampled: boolean;
  spans: Span[];
};

type Span = {
  spanId: string;
  parentId: string | undefined;
  name: string;
  /** As OTLP numbers them: 1 internal, 2 server, 3 client. */
  kind: 1 | 2 | 3;
  from_ms: number;
  to_ms: number;
  isFailed: boolean;
  attributes: Record<string, string | number>;
};

/** A request that asks for a thousand lanes is told by its first calls. */
const spans_max = 500;

const form = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

/**
 * Goes on with the trace that a request is part of, or begins one.
 *
 * @param share of the traces begun here that are told, 0 to 1; whoever began one elsewhere has decided for it
 */
export function traceOf(traceparent: string | undefined, share: number): Trace {
  const [, traceId, parentId, flags] = form.exec(traceparent ?? '') ?? [];
  const spanId = randomId(8);
  // All zeros are no ids.
  if (traceId !== undefined && parentId !== undefined && /[^0]/.test(traceId) && /[^0]/.test(parentId)) {
    return { traceId, spanId, parentId, isSampled: (Number.parseInt(flags ?? '0', 16) & 1) === 1, spans: [] };
  }
  return { traceId: randomId(16), spanId, parentId: undefined, isSampled: Math.random() < share, spans: [] };
}

/** What the stores are told of the trace that is open; undefined outside of one. */
export function traceparent(): string | undefined {
  const { trace } = currentActor();
  return trace === undefined ? undefined : `00-${trace.traceId}-${trace.spanId}-${trace.isSampled ? '01' : '00'}`;
}

/** Begins a call to a store; undefined where nobody keeps it. The function ends it. */
export function spanOf(
  name: string,
  attributes: Record<string, string | number>,
): ((isFailed: boolean) => void) | undefined {
  const { trace } = currentActor();
  if (trace === undefined || !trace.isSampled || trace.spans.length >= spans_max) return undefined;
  const from_ms = Date.now();
  return (isFailed) => {
    trace.spans.push({
      spanId: randomId(8),
      parentId: trace.spanId,
      name,
      kind: 3 as const,
      from_ms,
      to_ms: Date.now(),
      isFailed,
      attributes,
    });
  };
}

const timeout_ms = 5_000;

/**
 * Ends a trace here and sends it to the endpoint that is configured, as OTLP in JSON
 * (https://opentelemetry.io/docs/specs/otlp/). Never rejects.
 */
export async function endTrace(
  ctx: CoreDeps,
  trace: Trace,
  root: Omit<Span, 'spanId' | 'parentId' | 'to_ms'>,
): Promise<void> {
  const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_EXPORTER_OTLP_HEADERS: headers } = ctx.config;
  if (endpoint === undefined || !trace.isSampled) return;
  const spans = [{ ...root, spanId: trace.spanId, parentId: trace.parentId, to_ms: Date.now() }, ...trace.spans];
  const body = {
    resourceSpans: [
      {
        resource: { attributes: attributesOf({ 'service.name': ctx.config.OTEL_SERVICE_NAME }) },
        scopeSpans: [{ scope: { name: 'timestore' }, spans: spans.map((span) => otlp(trace.traceId, span)) }],
      },
    ],
  };
  try {
    const response = await fetch(`${endpoint.replace(/\/$/, '')}/v1/traces`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(timeout_ms),
    });
    await response.body?.cancel();
    if (!response.ok) ctx.log({ event: 'spans-unsent', status: response.status, spans: spans.length });
  } catch (error) {
    ctx.log({ event: 'spans-unsent', spans: spans.length, ...describeError(error) });
  }
}

function otlp(traceId: string, { spanId, parentId, name, kind, from_ms, to_ms, isFailed, attributes }: Span) {
  return {
    traceId,
    spanId,
    name,
    kind,
    ...(parentId !== undefined && { parentSpanId: parentId }),
    startTimeUnixNano: `${Math.round(from_ms)}000000`,
    endTimeUnixNano: `${Math.round(to_ms)}000000`,
    attributes: attributesOf(attributes),
    // 0 unset, 2 error
    status: { code: isFailed ? 2 : 0 },
  };
}

function attributesOf(attributes: Record<string, string | number>) {
  return Object.entries(attributes).map(([key, value]) => {
    return { key, value: typeof value === 'number' ? { intValue: String(value) } : { stringValue: value } };
  });
}

function randomId(bytes: number): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(bytes))).toString('hex');
}
