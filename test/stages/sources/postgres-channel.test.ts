/** `channel_binding=require`: a login that is bound to its TLS connection, or none. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TLSSocket } from "node:tls";
import type { RunningPostgres } from "../../../src/cli/demo-postgres.ts";
import { makeCertificate } from "../../servers/certificate.ts";
import { ownPostgres, readSource } from "../../servers/postgres.ts";

const query = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
const required = "sslmode=no-verify&channel_binding=require";
const unbound = { code: "source-refused", message: /is not bound to its TLS connection/ };

describe("a login to PostgreSQL that is to be bound to its TLS connection", () => {
  let server: RunningPostgres;
  let folder = "";
  let files: { readonly certificate: string; readonly key: string };

  before(async function () {
    folder = await mkdtemp(join(tmpdir(), "spillway-channel-"));
    const made = makeCertificate(folder);
    if (!made) this.skip();
    files = made;
    const tls = { ssl: "on", ssl_cert_file: made.certificate, ssl_key_file: made.key };
    server = await ownPostgres({ auth: "scram", settings: tls });
  });
  after(async () => {
    await server?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it("is taken where the server proves that it holds both ends", async () => {
    const [batch] = await readSource({ url: `${server.url}?${required}`, query });
    assert.deepEqual(batch?.rows, [["t"]]);
  });

  /** A server that greets a login with one message; gives what comes after that. */
  async function greetedBy(greeting: Buffer): Promise<Buffer> {
    const [cert, key] = [await readFile(files.certificate), await readFile(files.key)];
    const heard: Buffer[] = [];
    const poser = createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", () => {
        socket.write("S");
        const secure = new TLSSocket(socket, { isServer: true, cert, key });
        secure.on("error", () => {});
        secure.once("data", () => {
          secure.on("data", (bytes: Buffer) => void heard.push(bytes));
          secure.write(greeting);
        });
      });
    });
    poser.listen(0, "127.0.0.1");
    await once(poser, "listening");
    const { port } = poser.address() as AddressInfo;
    try {
      const url = `postgres://u:secret@127.0.0.1:${port}/d?${required}`;
      await assert.rejects(readSource({ url, query }), unbound);
    } finally {
      poser.close();
    }
    return Buffer.concat(heard);
  }

  it("is refused before a password goes out, whatever else the server wants", async () => {
    const authentication = (code: number, more = "") => {
      const message = Buffer.alloc(9 + more.length);
      message.write("R");
      message.writeInt32BE(8 + more.length, 1);
      message.writeInt32BE(code, 5);
      message.write(more, 9);
      return message;
    };
    for (const greeting of [
      authentication(0),
      authentication(3),
      authentication(5, "salt"),
      authentication(10, "SCRAM-SHA-256\0\0"),
    ])
      assert.equal((await greetedBy(greeting)).toString(), "");
  });

  it("is asked for by known words, and with TLS", async () => {
    const given = (asked: string) => readSource({ url: `${server.url}?${asked}`, query });
    const invalid = (message: RegExp) => ({ code: "config-invalid", message });
    await assert.rejects(given("channel_binding=require"), invalid(/needs TLS/));
    await assert.rejects(given("channel_binding=Require"), invalid(/expected require, prefer/));
    const [batch] = await given("channel_binding=prefer");
    assert.deepEqual(batch?.rows, [["f"]]);
  });
});
