import assert from "node:assert/strict";
import { networkInterfaces } from "node:os";
import { listenForHealth } from "../../../src/pipeline/serve/health.ts";
import type { ServerStatus } from "../../../src/pipeline/serve/server.ts";

const hasIPv6 = Object.values(networkInterfaces())
  .flat()
  .some((one) => one?.address === "::1");

describe("the health of a server", () => {
  const status: { -readonly [Key in keyof ServerStatus]: ServerStatus[Key] } = {
    ready: true,
    config: "current",
    pipelines: [],
  };
  const listen = (address: string) => listenForHealth(address, () => status);

  it("is told on this machine alone where only a port is given", async () => {
    const health = await listen("0");
    try {
      assert.match(health.url, /^http:\/\/127\.0\.0\.1:\d+$/);
      const ready = await fetch(`${health.url}/readyz`);
      assert.deepEqual([ready.status, await ready.json()], [200, { ready: true }]);
      status.ready = false;
      const stopping = await fetch(`${health.url}/readyz`);
      assert.deepEqual([stopping.status, await stopping.json()], [503, { ready: false }]);
      assert.equal((await fetch(`${health.url}/healthz?at=1`)).status, 200);
      const told = await fetch(`${health.url}/status`);
      assert.deepEqual(await told.json(), status);
    } finally {
      status.ready = true;
      await health.close();
    }
  });

  it("takes no orders, and is nowhere else", async () => {
    const health = await listen("127.0.0.1:0");
    try {
      const head = await fetch(`${health.url}/healthz`, { method: "HEAD" });
      assert.deepEqual([head.status, await head.text()], [200, ""]);
      const order = await fetch(`${health.url}/status`, { method: "POST" });
      assert.deepEqual([order.status, order.headers.get("allow")], [405, "GET, HEAD"]);
      assert.equal((await fetch(`${health.url}/metrics`)).status, 404);
    } finally {
      await health.close();
    }
  });

  it("has an address as it is typed, of IPv6 too", async function () {
    if (!hasIPv6) this.skip();
    const health = await listen("[::1]:0");
    await health.close();
    assert.match(health.url, /^http:\/\/\[::1\]:\d+$/);
  });

  it("is refused at an address that is none, or is taken", async () => {
    for (const address of ["nonsense", "127.0.0.1:65536", "127.0.0.1:"])
      await assert.rejects(listen(address), { code: "config-invalid", message: /is no address/ });
    const health = await listen("127.0.0.1:0");
    try {
      const taken = listen(new URL(health.url).host);
      await assert.rejects(taken, { code: "config-invalid", message: /EADDRINUSE/ });
    } finally {
      await health.close();
    }
  });
});
