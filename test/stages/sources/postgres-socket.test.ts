import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Server, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as connectTls, TLSSocket } from "node:tls";
import { directReads } from "../../../src/stages/sources/postgres-socket.ts";
import { makeCertificate } from "../../servers/certificate.ts";

describe("direct reads of a TLS connection that began as a plain one", () => {
  const sent = randomBytes(3 * 2 ** 20);
  const digestOf = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
  let server: Server;
  let folder = "";

  before(async function () {
    folder = await mkdtemp(join(tmpdir(), "spillway-socket-"));
    const made = makeCertificate(folder);
    if (!made) this.skip();
    const [cert, key] = await Promise.all([readFile(made.certificate), readFile(made.key)]);
    // It agrees on TLS as PostgreSQL does, then sends what there is once it was asked to.
    server = createServer((plain) => {
      plain.on("error", () => {});
      plain.once("data", () => {
        plain.write("S");
        const secure = new TLSSocket(plain, { isServer: true, cert, key });
        secure.on("error", () => {});
        secure.on("data", () => secure.write(sent));
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
  });
  after(async () => {
    server?.close();
    await rm(folder, { recursive: true, force: true });
  });

  async function openTls(): Promise<TLSSocket> {
    const plain = connect((server.address() as AddressInfo).port, "127.0.0.1");
    plain.write("?");
    await once(plain, "data");
    const secure = connectTls({ socket: plain, rejectUnauthorized: false });
    await once(secure, "secureConnect");
    return secure;
  }

  it("brings every read into the reader's memory, in order, and makes no buffers", async () => {
    const socket = await openTls();
    const inlet = Buffer.alloc(2 ** 16);
    const got: Buffer[] = [];
    let bytes = 0;
    socket.on("data", () => assert.fail("a read became a buffer"));
    directReads(socket)!({
      inlet,
      onRead(read) {
        assert.equal(read.buffer, inlet.buffer);
        got.push(Buffer.from(read));
        bytes += read.length;
        if (bytes === sent.length) socket.destroy();
        return true;
      },
    });
    socket.write("go");
    await once(socket, "close");
    assert.equal(digestOf(Buffer.concat(got)), digestOf(sent));
  });

  it("leaves the reader's memory alone while it is not offered, also behind the read that stops it", async () => {
    const socket = await openTls();
    const inlet = Buffer.alloc(2 ** 16);
    const got: Buffer[] = [];
    let bytes = 0;
    let elsewhere = 0;
    let isFree = true;
    directReads(socket)!({
      get inlet() {
        return isFree ? inlet : undefined;
      },
      onRead(read) {
        if (read.buffer === inlet.buffer) assert.ok(isFree);
        else elsewhere += 1;
        got.push(Buffer.from(read));
        bytes += read.length;
        isFree = false;
        setImmediate(() => {
          isFree = true;
          if (bytes === sent.length) socket.destroy();
          else socket.resume();
        });
        return false;
      },
    });
    socket.resume();
    socket.write("go");
    await once(socket, "close");
    assert.equal(digestOf(Buffer.concat(got)), digestOf(sent));
    assert.ok(elsewhere > 0);
  });

  it("gives reads back as data when there is no reader any more, and takes them again", async () => {
    const socket = await openTls();
    const direct = directReads(socket)!;
    let heard = 0;
    let read = 0;
    const reader = {
      inlet: Buffer.alloc(2 ** 16),
      onRead({ length }: Buffer) {
        read += length;
        return true;
      },
    };
    socket.on("data", ({ length }: Buffer) => (heard += length));
    for (const next of [reader, undefined, reader]) {
      direct(next);
      const all = read + heard + sent.length;
      socket.write("go");
      while (read + heard < all) await sleep(1);
    }
    assert.deepEqual([read, heard], [2 * sent.length, sent.length]);
    socket.destroy();
  });

  it("is refused for a socket that Node has made otherwise, or has closed", async () => {
    assert.equal(directReads(new Socket()), undefined);
    assert.equal(directReads({} as Socket), undefined);
    const socket = await openTls();
    socket.destroy();
    await once(socket, "close");
    assert.equal(directReads(socket), undefined);
  });
});
