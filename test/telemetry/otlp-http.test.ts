import assert from "node:assert/strict";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { createOtlpClient } from "../../src/telemetry/otlp-http.ts";

/** A collector that gives these answers one after another, the last one for ever. */
async function startCollector(...answers: readonly ((response: ServerResponse) => void)[]) {
  let requests = 0;
  const server = createServer((request, response) => {
    request.resume();
    answers[Math.min(requests, answers.length - 1)]!(response);
    requests += 1;
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    requests: () => requests,
    async close() {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}

const clientFor = (url: string, timeoutMillis = 3000) =>
  createOtlpClient({ url: new URL(url), headers: {}, timeoutMillis, gzip: false });
const body = Buffer.from("{}");

describe("a client of collectors", () => {
  it("tries again behind a broken line, and after the pause that is asked for", async () => {
    const collector = await startCollector(
      (response) => void response.destroy(),
      (response) => void response.writeHead(503, { "retry-after": "0" }).end(),
      (response) => void response.end('{"partialSuccess":{"rejectedSpans":"3"}}'),
    );
    const client = clientFor(`http://127.0.0.1:${collector.port}/v1/traces`);
    try {
      assert.deepEqual(await client.post(body), { rejected: 3 });
      assert.equal(collector.requests(), 3);
    } finally {
      client.close();
      await collector.close();
    }
  });

  it("pauses by itself where it is to come back at once, again and again", async () => {
    const busy = (response: ServerResponse) =>
      void response.writeHead(429, { "retry-after": "0" }).end();
    const collector = await startCollector(busy);
    const client = clientFor(`http://127.0.0.1:${collector.port}/v1/traces`, 600);
    try {
      await assert.rejects(client.post(body));
      assert.ok(collector.requests() <= 5, `${collector.requests()} requests`);
    } finally {
      client.close();
      await collector.close();
    }
  });

  it("tries nothing twice once it is to hurry", async () => {
    const collector = await startCollector((response) => void response.writeHead(503).end());
    const client = clientFor(`http://127.0.0.1:${collector.port}/v1/traces`);
    try {
      client.hurry();
      await assert.rejects(client.post(body), /^Error: the collector answered 503; expected 200$/);
      assert.equal(collector.requests(), 1);
    } finally {
      client.close();
      await collector.close();
    }
  });

  it("takes no connection that was idle once it is to hurry: it may be dead", async () => {
    const used = new Set<unknown>();
    const collector = await startCollector((response) => {
      const { socket } = response;
      if (used.has(socket)) socket!.resetAndDestroy();
      else response.end("{}");
      used.add(socket);
    });
    const client = clientFor(`http://127.0.0.1:${collector.port}/v1/traces`);
    try {
      for (let request = 0; request < 2; request += 1) {
        assert.deepEqual(await client.post(body), { rejected: 0 });
        client.hurry();
      }
    } finally {
      client.close();
      await collector.close();
    }
  });

  it("asked for TLS sends nothing in plain text", async () => {
    const collector = await startCollector((response) => void response.end("{}"));
    const client = clientFor(`https://127.0.0.1:${collector.port}/v1/traces`);
    try {
      client.hurry();
      await assert.rejects(client.post(body), /SSL|EPROTO/);
      assert.equal(collector.requests(), 0);
    } finally {
      client.close();
      await collector.close();
    }
  });
});
