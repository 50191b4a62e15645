/**
 * A real OTLP/HTTP receiver: decodes http/json and http/protobuf, plain or gzip, and keeps what arrived in one shape.
 * It can be told to be slow, mute or unwilling.
 */
import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { gunzipSync } from "node:zlib";
import { metricsRequest, readMessage, traceRequest } from "./otlp-protobuf.ts";

export type Attributes = Record<string, unknown>;

export interface ReceivedSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for a root. */
  readonly parentSpanId: string;
  /** OTLP's numbers: 1 internal, 3 client. */
  readonly kind: number;
  readonly startNanos: bigint;
  readonly endNanos: bigint;
  readonly attributes: Attributes;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly status: { readonly code: number; readonly message: string };
  readonly resource: Attributes;
}

export interface ReceivedMetric {
  readonly name: string;
  readonly unit: string;
  readonly description: string;
  readonly kind: "counter" | "upDownCounter" | "gauge";
  readonly points: readonly { readonly attributes: Attributes; readonly value: number }[];
  readonly resource: Attributes;
}

export interface ReceivedRequest {
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
}

export interface OtlpReceiver {
  /** `http://127.0.0.1:port`. */
  readonly url: string;
  readonly spans: ReceivedSpan[];
  /** All readings, oldest first. */
  readonly metrics: ReceivedMetric[];
  readonly requests: ReceivedRequest[];
  /** What each of them carried, unpacked and undecoded. */
  readonly bodies: Buffer[];
  /** The newest reading of a metric. */
  metric(name: string): ReceivedMetric | undefined;
  close(): Promise<void>;
}

export interface ReceiverBehaviour {
  /** Status to answer the n-th request (from 0) with; other than 200 keeps nothing of it. */
  readonly status?: (request: number) => number;
  /** Never answers. */
  readonly mute?: boolean;
  /** Waits so long before each answer. */
  readonly delayMillis?: number;
  /** Says that it turned this many items of each request away. */
  readonly rejects?: number;
}

export async function startOtlpReceiver(behaviour: ReceiverBehaviour = {}): Promise<OtlpReceiver> {
  const spans: ReceivedSpan[] = [];
  const metrics: ReceivedMetric[] = [];
  const requests: ReceivedRequest[] = [];
  const bodies: Buffer[] = [];

  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const number = requests.length;
    requests.push({ path: request.url ?? "", headers: request.headers });
    const body = await readBody(request);
    bodies.push(body);
    if (behaviour.mute) return;
    if (behaviour.delayMillis) await sleep(behaviour.delayMillis);
    const status = behaviour.status?.(number) ?? 200;
    const decoded = decode(request, body);
    if (status === 200) {
      spans.push(...spansOf(decoded));
      metrics.push(...metricsOf(decoded));
    }
    response.writeHead(status, { "content-type": String(request.headers["content-type"]) });
    const rejected = behaviour.rejects;
    response.end(rejected ? `{"partialSuccess":{"rejectedSpans":"${rejected}"}}` : "");
  };
  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.writeHead(400).end());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  assert(typeof address === "object" && address !== null);

  return {
    url: `http://127.0.0.1:${address.port}`,
    spans,
    metrics,
    requests,
    bodies,
    metric: (name) => metrics.findLast((metric) => metric.name === name),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(Buffer.from(piece));
  const body = Buffer.concat(pieces);
  return request.headers["content-encoding"] === "gzip" ? gunzipSync(body) : body;
}

function decode(request: IncomingMessage, body: Buffer): unknown {
  if (request.headers["content-type"] === "application/json") return JSON.parse(body.toString());
  return readMessage(body, request.url === "/v1/traces" ? traceRequest : metricsRequest);
}

// Both encodings are read through the same three functions: protobuf fields are always lists, JSON's only where they repeat.
function list(message: unknown, name: string): unknown[] {
  if (typeof message !== "object" || message === null) return [];
  const value: unknown = Reflect.get(message, name);
  return value === undefined ? [] : Array.isArray(value) ? value : [value];
}

const one = (message: unknown, name: string): unknown => list(message, name)[0];

function text(message: unknown, name: string): string {
  const value = one(message, name);
  return typeof value === "string" || typeof value === "bigint" ? value.toString() : "";
}

function* spansOf(request: unknown): Generator<ReceivedSpan> {
  for (const group of list(request, "resourceSpans")) {
    const resource = attributesOf(one(group, "resource"));
    for (const span of list(group, "scopeSpans").flatMap((scope) => list(scope, "spans"))) {
      yield {
        name: text(span, "name"),
        traceId: text(span, "traceId"),
        spanId: text(span, "spanId"),
        parentSpanId: text(span, "parentSpanId"),
        kind: Number(one(span, "kind")),
        startNanos: BigInt(text(span, "startTimeUnixNano")),
        endNanos: BigInt(text(span, "endTimeUnixNano")),
        attributes: attributesOf(span),
        links: list(span, "links").map((link) => ({
          traceId: text(link, "traceId"),
          spanId: text(link, "spanId"),
        })),
        status: {
          code: Number(one(one(span, "status"), "code") ?? 0),
          message: text(one(span, "status"), "message"),
        },
        resource,
      };
    }
  }
}

function* metricsOf(request: unknown): Generator<ReceivedMetric> {
  for (const group of list(request, "resourceMetrics")) {
    const resource = attributesOf(one(group, "resource"));
    for (const metric of list(group, "scopeMetrics").flatMap((scope) => list(scope, "metrics"))) {
      const sum = one(metric, "sum");
      const points = list(sum ?? one(metric, "gauge"), "dataPoints").map((point) => ({
        attributes: attributesOf(point),
        value: Number(one(point, "asDouble") ?? one(point, "asInt") ?? 0),
      }));
      const monotonic = one(sum, "isMonotonic") === true;
      yield {
        name: text(metric, "name"),
        unit: text(metric, "unit"),
        description: text(metric, "description"),
        kind: sum ? (monotonic ? "counter" : "upDownCounter") : "gauge",
        points,
        resource,
      };
    }
  }
}

function attributesOf(message: unknown): Attributes {
  return Object.fromEntries(
    list(message, "attributes").map((pair) => [text(pair, "key"), valueOf(one(pair, "value"))]),
  );
}

function valueOf(value: unknown): unknown {
  const number = one(value, "intValue") ?? one(value, "doubleValue");
  if (number !== undefined) return Number(number);
  const array = one(value, "arrayValue");
  if (array !== undefined) return list(array, "values").map(valueOf);
  return one(value, "stringValue") ?? one(value, "boolValue");
}
