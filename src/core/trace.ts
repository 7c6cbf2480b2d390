import type { CoreDeps } from './deps.ts';
import { describeError } from './log.ts';
import { currentActor } from './request-context.ts';

/** This instance's part of a trace. Ids as in https://www.w3.org/TR/trace-context/ */
export type Trace = {
  traceId: string;
  /** Id of the open span. */
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

/** A request over a thousand lanes records its first calls only. */
const spans_max = 500;

const traceparentPattern = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

/**
 * Continues the trace of a request, or begins one.
 *
 * @param sampleRate share of the traces begun here that are exported, 0 to 1; a continued trace keeps its sampling flag
 */
export function continueTrace(traceparent: string | undefined, sampleRate: number): Trace {
  const [, traceId, parentId, flags] = traceparentPattern.exec(traceparent ?? '') ?? [];
  const spanId = randomId(8);
  // Ids of zeros are invalid.
  if (traceId !== undefined && parentId !== undefined && /[^0]/.test(traceId) && /[^0]/.test(parentId)) {
    return { traceId, spanId, parentId, isSampled: (Number.parseInt(flags ?? '0', 16) & 1) === 1, spans: [] };
  }
  return { traceId: randomId(16), spanId, parentId: undefined, isSampled: Math.random() < sampleRate, spans: [] };
}

/** The header `traceparent` of requests to stores; undefined outside of a trace. */
export function traceparent(): string | undefined {
  const { trace } = currentActor();
  return trace === undefined ? undefined : `00-${trace.traceId}-${trace.spanId}-${trace.isSampled ? '01' : '00'}`;
}

/** Begins the span of a store call. The result ends it; undefined if the span is not recorded. */
export function beginSpan(
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
 * Ends this instance's part of a trace and sends it to the configured endpoint, as OTLP in JSON
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
        resource: { attributes: otlpAttributes({ 'service.name': ctx.config.OTEL_SERVICE_NAME }) },
        scopeSpans: [{ scope: { name: 'timestore' }, spans: spans.map((span) => otlpSpan(trace.traceId, span)) }],
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

function otlpSpan(traceId: string, { spanId, parentId, name, kind, from_ms, to_ms, isFailed, attributes }: Span) {
  return {
    traceId,
    spanId,
    name,
    kind,
    ...(parentId !== undefined && { parentSpanId: parentId }),
    startTimeUnixNano: `${Math.round(from_ms)}000000`,
    endTimeUnixNano: `${Math.round(to_ms)}000000`,
    attributes: otlpAttributes(attributes),
    // 0 unset, 2 error
    status: { code: isFailed ? 2 : 0 },
  };
}

function otlpAttributes(attributes: Record<string, string | number>) {
  return Object.entries(attributes).map(([key, value]) => {
    return { key, value: typeof value === 'number' ? { intValue: String(value) } : { stringValue: value } };
  });
}

function randomId(bytes: number): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(bytes))).toString('hex');
}
