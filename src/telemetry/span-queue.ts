/**
 * The queue of ended spans, as bytes: a span is encoded the moment it ends, into blocks that are used again and again.
 *
 * The SDK's own queue keeps span objects, which cost 25 MB of heap at 2000 spans a second; this one costs its blocks,
 * at most 4 MiB. One block is on its way at a time; what finds no room is dropped and counted.
 */
import type { SpanProcessor } from "@opentelemetry/sdk-trace";
import type { OtlpClient } from "./otlp-http.ts";
import { encodeSpan, encodeSpansHead, spansTail, type ToldSpan } from "./otlp-json.ts";
import type { SpanLedger } from "./span-ledger.ts";

export interface SpanQueueInit {
  readonly client: OtlpClient;
  readonly ledger: SpanLedger;
  /** Spans that may wait at once. */
  readonly queueSpans: number;
  /** Spans a request carries at most. */
  readonly batchSpans: number;
  /** How long a span may wait for company. */
  readonly delayMillis: number;
}

const blockBytes = 256 * 1024;
const mostBlocks = 16;

/** Of any text, in UTF-8: good enough here, and nothing is counted. */
const mostBytes = ({ length }: string): number => 3 * length;

interface Block {
  readonly bytes: Buffer<ArrayBuffer>;
  length: number;
  spans: number;
}

/** What the SDK ends its spans with, for all spans. */
export interface SpanQueue extends SpanProcessor {
  onEnd(span: ToldSpan): void;
}

export function createSpanQueue(init: SpanQueueInit): SpanQueue {
  const { client, ledger } = init;
  const blocks = createBlocks();
  const full: Block[] = [];
  let filling: Block | undefined;
  let waiting = 0;
  let sending: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;

  const send = async (block: Block) => {
    const { bytes, length, spans } = block;
    try {
      const { rejected } = await client.post(bytes.subarray(0, length));
      const lost = Math.min(rejected, spans);
      ledger.settled(spans - lost, lost);
    } catch {
      ledger.failed();
      ledger.settled(0, spans);
    }
    blocks.giveBack(block);
    sending = undefined;
    sendNext();
  };
  const sendNext = () => {
    const block = sending ? undefined : full.shift();
    if (!block) return;
    // What is on its way waits no more.
    waiting -= block.spans;
    sending = send(block);
  };
  const dispatch = () => {
    clearTimeout(timer);
    timer = undefined;
    if (filling) {
      filling.length += filling.bytes.write(spansTail, filling.length);
      full.push(filling);
    }
    filling = undefined;
    sendNext();
  };

  const queue = (span: ToldSpan): boolean => {
    if (waiting >= init.queueSpans) return false;
    const text = encodeSpan(span);
    const most = mostBytes(text) + 1 + spansTail.length;
    if (filling && filling.length + most > blockBytes) dispatch();
    filling ??= blocks.take(encodeSpansHead(span));
    if (!filling || filling.length + most > blockBytes) return false;
    const { bytes, length, spans } = filling;
    filling.length += bytes.write(spans > 0 ? `,${text}` : text, length);
    filling.spans += 1;
    waiting += 1;
    if (filling.spans >= init.batchSpans) dispatch();
    else timer ??= setTimeout(dispatch, init.delayMillis).unref();
    return true;
  };
  const flush = async (): Promise<void> => {
    dispatch();
    await sending;
    if (sending) await flush();
  };

  return {
    onStart() {},
    onEnd(span) {
      if ((span.spanContext().traceFlags & 1) === 0) return;
      ledger.ended();
      if (!queue(span)) ledger.settled(0, 1);
    },
    forceFlush: flush,
    shutdown: flush,
  };
}

/** A free list: blocks are made when needed, up to a limit, and never given up. */
function createBlocks() {
  const free: Block[] = [];
  let made = 0;
  return {
    /** A block that begins with `head`; undefined when all are in use. */
    take(head: string): Block | undefined {
      if (free.length === 0 && made < mostBlocks) {
        free.push({ bytes: Buffer.allocUnsafeSlow(blockBytes), length: 0, spans: 0 });
        made += 1;
      }
      const block = free.pop();
      if (block) Object.assign(block, { length: block.bytes.write(head), spans: 0 });
      return block;
    },
    giveBack: (block: Block) => void free.push(block),
  };
}
