/** Just enough of protocol buffers to read OTLP: the wire format, and the field numbers of opentelemetry-proto 1.x. */

type Shape = Readonly<Record<number, readonly [name: string, as: As]>>;
type As =
  | "text"
  | "hex"
  | "uint"
  | "fixed64"
  | "double"
  | "bool"
  | readonly [Shape]
  | (() => readonly [Shape]);

/** Reads a message; every field becomes a list, because any may repeat. */
export function readMessage(bytes: Uint8Array, shape: Shape): Message {
  const message: Message = {};
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++] ?? 0;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  const take = (length: number) => bytes.subarray(at, (at += length));
  while (at < bytes.length) {
    const tag = Number(varint());
    const wire = tag & 7;
    const raw = wire === 0 ? varint() : take(wire === 1 ? 8 : wire === 5 ? 4 : Number(varint()));
    const field = shape[tag >>> 3];
    if (field) (message[field[0]] ??= []).push(readField(raw, field[1]));
  }
  return message;
}

export interface Message {
  [field: string]: unknown[];
}

function readField(raw: bigint | Uint8Array, as: As): unknown {
  if (typeof raw === "bigint") return as === "bool" ? raw !== 0n : BigInt.asIntN(64, raw);
  const buffer = Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength);
  if (as === "text") return buffer.toString("utf8");
  if (as === "hex") return buffer.toString("hex");
  if (as === "fixed64") return buffer.readBigInt64LE();
  if (as === "double") return buffer.readDoubleLE();
  if (typeof as === "string") return undefined;
  const [shape] = typeof as === "function" ? as() : as;
  return readMessage(raw, shape);
}

const anyValue: Shape = {
  1: ["stringValue", "text"],
  2: ["boolValue", "bool"],
  3: ["intValue", "uint"],
  4: ["doubleValue", "double"],
  5: ["arrayValue", () => [{ 1: ["values", [anyValue]] }]],
};
const keyValue: Shape = { 1: ["key", "text"], 2: ["value", [anyValue]] };
const resource: Shape = { 1: ["attributes", [keyValue]] };
const scope: Shape = { 1: ["name", "text"], 2: ["version", "text"] };
const link: Shape = { 1: ["traceId", "hex"], 2: ["spanId", "hex"], 4: ["attributes", [keyValue]] };
const span: Shape = {
  1: ["traceId", "hex"],
  2: ["spanId", "hex"],
  4: ["parentSpanId", "hex"],
  5: ["name", "text"],
  6: ["kind", "uint"],
  7: ["startTimeUnixNano", "fixed64"],
  8: ["endTimeUnixNano", "fixed64"],
  9: ["attributes", [keyValue]],
  13: ["links", [link]],
  15: ["status", [{ 2: ["message", "text"], 3: ["code", "uint"] }]],
};
const point: Shape = {
  7: ["attributes", [keyValue]],
  3: ["timeUnixNano", "fixed64"],
  4: ["asDouble", "double"],
  6: ["asInt", "fixed64"],
};
const sum: Shape = { 1: ["dataPoints", [point]], 3: ["isMonotonic", "bool"] };
const metric: Shape = {
  1: ["name", "text"],
  2: ["description", "text"],
  3: ["unit", "text"],
  5: ["gauge", [{ 1: ["dataPoints", [point]] }]],
  7: ["sum", [sum]],
};

export const traceRequest: Shape = {
  1: [
    "resourceSpans",
    [
      {
        1: ["resource", [resource]],
        2: ["scopeSpans", [{ 1: ["scope", [scope]], 2: ["spans", [span]] }]],
      },
    ],
  ],
};
export const metricsRequest: Shape = {
  1: [
    "resourceMetrics",
    [
      {
        1: ["resource", [resource]],
        2: ["scopeMetrics", [{ 1: ["scope", [scope]], 2: ["metrics", [metric]] }]],
      },
    ],
  ],
};
