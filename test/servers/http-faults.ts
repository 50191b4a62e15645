/** What any server that speaks HTTP may do to a request, whatever it stores: plays for its script of faults. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";

/** The part of a call that these need. `serve` answers as the healthy server would. */
export interface HttpCall {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  serve(): void;
}

export type Play = (call: HttpCall) => void;

/** The connection ends, and nothing was done. */
export const hangUp: Play = ({ response }) => void response.destroy();

/** All is done, and nothing said. */
export const serveUnheard: Play = (call) => {
  const socket = socketOf(call);
  socket.cork();
  call.serve();
  socket.destroy();
};

/** All is done; the answer ends after so many bytes, by FIN or by RST. */
export const cutAnswer =
  (bytes: number, by: "end" | "reset"): Play =>
  (call) => {
    let left = bytes;
    serveThrough(call, (piece, write, socket) => {
      const part = piece.subarray(0, left);
      left -= part.length;
      write(part);
      if (left > 0) return;
      if (by === "end") socket.end();
      else setImmediate(() => socket.resetAndDestroy());
    });
  };

/** All is done; the answer comes byte by byte, one in so many milliseconds, behind the first that come at once. */
export const dribble =
  (everyMillis: number, atOnce = 0): Play =>
  (call) => {
    let free = atOnce;
    let waiting = Buffer.alloc(0);
    let timer: NodeJS.Timeout | undefined;
    serveThrough(call, (piece, write, socket) => {
      if (free > 0) write(piece.subarray(0, free));
      waiting = Buffer.concat([waiting, piece.subarray(free)]);
      free = Math.max(0, free - piece.length);
      timer ??= setInterval(() => {
        if (waiting.length === 0 || socket.destroyed) clearInterval(timer);
        else write(waiting.subarray(0, 1));
        waiting = waiting.subarray(1);
      }, everyMillis);
    });
  };

/** All is done; the answer changes on its way. */
export const rewrite =
  (change: (text: string) => string): Play =>
  (call) => {
    const socket = socketOf(call);
    const pieces: Buffer[] = [];
    serveThrough(call, (piece) => void pieces.push(piece));
    setImmediate(() => {
      if (!socket.destroyed)
        socket.write(change(Buffer.concat(pieces).toString("latin1")), "latin1");
    });
  };

/** Early: takes so many bytes of the request, or all there are, then resets the connection. */
export const cutRequest =
  (bytes: number): Play =>
  ({ request }) => {
    let left = bytes;
    request.on("error", () => {});
    request.on("data", (piece: Buffer) => {
      left -= piece.length;
      if (left <= 0) request.socket.resetAndDestroy();
    });
    request.on("end", () => request.socket.resetAndDestroy());
  };

/** Early: takes a little of the request now and then, for ever. */
export const sip =
  (everyMillis: number): Play =>
  ({ request }) => {
    request.on("error", () => {});
    const timer = setInterval(() => {
      if (request.socket.destroyed) clearInterval(timer);
      else request.read(1);
    }, everyMillis);
  };

/** Takes the request and never answers. */
export const fallSilent: Play = () => {};

/** Answers with a status and nothing of its own. */
export const answerWith =
  (status: number, headers: Record<string, string> = {}, body = ""): Play =>
  ({ response }) =>
    void response.writeHead(status, headers).end(body);

function socketOf({ response }: HttpCall): Socket {
  const { socket } = response;
  if (!socket) throw new Error("a call that is played has its socket");
  return socket;
}

/** Answers as a healthy server; what it writes goes to `instead`. It writes at once, and nothing else goes there. */
function serveThrough(
  call: HttpCall,
  instead: (piece: Buffer, write: (piece: Buffer) => void, socket: Socket) => void,
): void {
  const socket = socketOf(call);
  const write = socket.write.bind(socket);
  socket.write = (piece: string | Uint8Array, ...rest: unknown[]) => {
    const encoding = rest.find((value) => typeof value === "string") as BufferEncoding | undefined;
    const bytes = typeof piece === "string" ? Buffer.from(piece, encoding) : Buffer.from(piece);
    instead(bytes, (part) => void (socket.destroyed || write(part)), socket);
    const done = rest.find((value) => typeof value === "function") as (() => void) | undefined;
    if (done) setImmediate(done);
    return true;
  };
  call.serve();
  Reflect.deleteProperty(socket, "write");
}
