/** Requests that leave through a proxy, as a clinic's network may want it: the command line, TLS, and a small CONNECT proxy. */
import assert from "node:assert/strict";
import { createServer, type IncomingMessage } from "node:http";
import { connect, type AddressInfo, type Socket } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { connectTo } from "../../src/stages/destinations/http-exchange.ts";
import { createOtlpClient } from "../../src/telemetry/otlp-http.ts";
import { makeCertificate, startTlsFront } from "../servers/certificate.ts";
import { startScriptedWeb } from "../servers/scripted-web.ts";
import { openDesk, rowsText } from "./spawn-cli.ts";

const login = `Basic ${Buffer.from("clinic:secret").toString("base64")}`;

interface Proxy {
  readonly port: number;
  /** Where it was asked to lead: authorities, and whole URLs where there is no TLS. */
  readonly asked: string[];
  /** It listens, and says nothing. */
  isMute: boolean;
  stop(): Promise<void>;
}

async function startProxy(): Promise<Proxy> {
  const [asked, open] = [[] as string[], new Set<Socket>()];
  const server = createServer(({ url }, answer) => {
    asked.push(url!);
    answer.end("{}");
  });
  server.on("connection", (socket: Socket) => {
    open.add(socket);
    socket.on("error", () => {}).on("close", () => open.delete(socket));
  });
  server.on("connect", ({ url, headers }: IncomingMessage, socket: Socket) => {
    asked.push(url!);
    if (proxy.isMute) return;
    if (headers["proxy-authorization"] !== login) {
      socket.end("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
      return;
    }
    const port = Number(url!.split(":")[1]);
    const behind = connect(port, "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      socket.pipe(behind).pipe(socket);
    });
    behind.on("error", () => socket.destroy());
    socket.on("close", () => behind.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const proxy: Proxy = {
    port: (server.address() as AddressInfo).port,
    asked,
    isMute: false,
    stop: async () => {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return proxy;
}

describe("a proxy of the environment", () => {
  let proxy: Proxy;
  before(async () => {
    proxy = await startProxy();
  });
  after(() => proxy.stop());
  beforeEach(() => {
    proxy.asked.length = 0;
    proxy.isMute = false;
  });

  it("leads to the store, TLS and all, where the environment asks for it, and else is let alone", async function () {
    const desk = await openDesk();
    const files = makeCertificate(desk.folder);
    if (!files) this.skip();
    const web = await startScriptedWeb("dav");
    const front = await startTlsFront(Number(new URL(web.endpoint).port), files);
    try {
      const [store, url] = [`localhost:${front.port}`, `https://localhost:${front.port}/dav/`];
      const trust = { NODE_EXTRA_CA_CERTS: files.certificate };
      const named = { ...trust, HTTPS_PROXY: `http://clinic:secret@127.0.0.1:${proxy.port}` };
      const asking = { ...named, NODE_USE_ENV_PROXY: "1" };
      await desk.write("rows.ndjson", rowsText(50));
      await desk.write("out.yaml", pipelineTo(url));
      const ran = await desk.cli(["run", "out.yaml", "-q"], asking);
      assert.equal(ran.code, 0, ran.stderr);
      assert.deepEqual(new Set(proxy.asked), new Set([store]));
      proxy.asked.length = 0;
      for (const env of [named, { ...asking, NO_PROXY: "localhost" }]) {
        const { code, stdout, stderr } = await desk.cli(["cat", `${url}out`], env);
        assert.equal(code, 0, stderr);
        assert.equal(stdout, rowsText(50));
      }
      assert.deepEqual(proxy.asked, []);
    } finally {
      await Promise.all([front.stop(), web.stop()]);
      await desk.remove();
    }
  });

  describe("in this process", () => {
    const names = ["NODE_USE_ENV_PROXY", "HTTPS_PROXY", "HTTP_PROXY"] as const;
    const kept = names.map((name) => [name, process.env[name]] as const);
    before(() => {
      const url = `http://127.0.0.1:${proxy.port}`;
      for (const name of names) process.env[name] = name === "NODE_USE_ENV_PROXY" ? "1" : url;
    });
    after(() => {
      for (const [name, value] of kept) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
    });

    const reach = (timeoutMillis: number) =>
      connectTo({
        origin: new URL("https://store.invalid"),
        called: "the store",
        timeoutMillis,
        address: () => ({ path: "/", headers: {} }),
      });

    for (const isMute of [true, false]) {
      it(`ends a request when it ${isMute ? "says nothing" : "refuses to lead there"}`, async () => {
        proxy.isMute = isMute;
        const connection = reach(100);
        const { signal } = new AbortController();
        for (const headers of [{}, { "if-none-match": "*" }]) {
          const sent = connection.send({ method: "PUT", name: "x", headers }, signal);
          await assert.rejects(sent, { message: "the store did not answer (ERR_PROXY_TUNNEL)" });
        }
        assert.deepEqual(proxy.asked, ["store.invalid:443", "store.invalid:443"]);
        connection.close();
      });
    }

    it("holds up nobody who stops meanwhile when it says nothing", async () => {
      proxy.isMute = true;
      const connection = reach(60_000);
      const stop = new AbortController();
      const sent = connection.send({ method: "GET", name: "x" }, stop.signal);
      while (proxy.asked.length === 0) await nextTurn();
      stop.abort(new Error("stopped"));
      await assert.rejects(sent, { message: "stopped" });
      connection.close();
    });

    it("takes what goes to a collector", async () => {
      const url = new URL("http://collector.invalid:4318/v1/traces");
      const client = createOtlpClient({ url, headers: {}, gzip: false, timeoutMillis: 5000 });
      assert.deepEqual(await client.post(Buffer.from("{}")), { rejected: 0 });
      assert.deepEqual(proxy.asked, [url.href]);
      client.close();
    });
  });
});

const pipelineTo = (to: string) => `name: out
stages:
  - ndjson: rows.ndjson
  - serialize: ndjson
  - chunk: 64KiB
  - compress: none
  - encrypt: none
  - spool: ./spool
  - upload: { to: "${to}" }
`;
