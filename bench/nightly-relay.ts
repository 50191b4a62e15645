/**
 * A distance in a program: a TCP relay that gives every byte on a little later than it came, in both directions.
 *
 * Node's timers count whole milliseconds, so a thread of its own sleeps in steps of 50 µs while something is under way.
 */
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";

interface Distance {
  readonly port: number;
  readonly delayMillis: number;
}

export interface Relay {
  /** The URL that goes through it. */
  readonly url: string;
  stop(): Promise<unknown>;
}

/** @param delayMillis of each direction; a round trip is twice that and what the relay itself takes */
export async function openRelay(url: string, delayMillis: number): Promise<Relay> {
  const far = new URL(url);
  const workerData: Distance = { port: Number(far.port), delayMillis };
  const worker = new Worker(import.meta.filename, { workerData });
  const [port] = (await once(worker, "message")) as [number];
  far.port = String(port);
  return { url: far.href, stop: () => worker.terminate() };
}

if (!isMainThread) await relay(workerData as Distance);

async function relay({ port, delayMillis }: Distance): Promise<void> {
  const { later } = createDelay(delayMillis);
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
    const far = connect({ port, host: "127.0.0.1", allowHalfOpen: true, noDelay: true });
    carry(near, far, later);
    carry(far, near, later);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread's port has no origin
  parentPort!.postMessage((server.address() as AddressInfo).port);
}

type Later = (work: () => void) => void;

/** A slow reader stops the writer, as on any network: what is unsent for long is bounded by the sockets. */
function carry(from: Socket, to: Socket, later: Later): void {
  from.on("data", (bytes) =>
    later(() => {
      if (to.write(bytes)) return;
      from.pause();
      to.once("drain", () => from.resume());
    }),
  );
  from.on("end", () => later(() => to.end()));
  from.on("error", () => later(() => to.destroy()));
  from.on("close", () => later(() => to.end()));
}

const stepMillis = 0.05;

/** All is delayed alike, so the first that came is the first that is due. */
function createDelay(delayMillis: number): { readonly later: Later } {
  const waiting: { readonly due: number; readonly work: () => void }[] = [];
  const clock = new Int32Array(new SharedArrayBuffer(4));
  const tick = () => {
    while (waiting.length > 0 && waiting[0]!.due <= performance.now()) waiting.shift()!.work();
    if (waiting.length === 0) return;
    const left = waiting[0]!.due - performance.now();
    if (left > 0) Atomics.wait(clock, 0, 0, Math.min(left, stepMillis));
    setImmediate(tick);
  };
  return {
    later(work) {
      waiting.push({ due: performance.now() + delayMillis, work });
      if (waiting.length === 1) setImmediate(tick);
    },
  };
}
