import assert from "node:assert/strict";
import * as v from "valibot";
import { fhirBulk, readFhirBulk } from "../../../../src/stages/sources/fhir-bulk.ts";
import { createGuard, placeOf } from "../../../../src/stages/sources/fhir/places.ts";
import type { Spool } from "../../../../src/stages/pages/spool-store.ts";
import { collect, testContext } from "../../../contract/stage-contract.ts";
import { createBulk } from "../../../servers/fhir-bulk.ts";
import { send, startFhir, type Interceptor } from "../../../servers/fhir.ts";

describe("where an address lies", () => {
  it("is told of every form of it", () => {
    const places = {
      public: ["8.8.8.8", "172.32.0.1", "2a00:1450::1", "64:ff9b::808:808", "::ffff:8.8.8.8"],
      private: [
        "10.1.2.3",
        "172.31.255.255",
        "192.168.0.1",
        "100.64.0.1",
        "fd00::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
      ],
      loopback: ["127.0.0.1", "127.9.9.9", "::1", "::ffff:7f00:1", "0:0:0:0:0:ffff:7f00:1"],
      "link-local": ["169.254.169.254", "fe80::1%eth0", "::ffff:a9fe:a9fe"],
      reserved: ["0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "ff02::1", "2001:db8::1"],
    };
    for (const [place, addresses] of Object.entries(places))
      for (const address of addresses) assert.equal(placeOf(address), place, address);
  });

  const resolves = (guard: ReturnType<typeof createGuard>, host: string) =>
    new Promise((resolve) => guard.lookup(host, { all: true }, (error) => resolve(error?.message)));

  it("decides what a server may lead to: nothing private unless it lies there itself", async () => {
    const inside = createGuard("localhost");
    assert.equal(await resolves(inside, "localhost"), undefined);
    inside.check("127.0.0.1");
    inside.check("[::1]");
    assert.throws(() => inside.check("10.0.0.1"), /leads to a private address/);
    assert.throws(() => inside.check("169.254.169.254"), /link-local/);
    const outside = createGuard("fhir.example.org");
    outside.check("8.8.8.8");
    assert.throws(() => outside.check("127.0.0.1"), /loopback/);
    assert.match(String(await resolves(outside, "localhost")), /loopback/);
  });

  it("is looked at when a name is resolved, so that a name cannot come to mean another place", async () => {
    const answers = ["8.8.8.8", "8.8.4.4", "127.0.0.1"];
    const guard = createGuard("fhir.example.org", (_host, _options, done) =>
      done(null, [{ address: answers.shift()!, family: 4 }]),
    );
    assert.equal(await resolves(guard, "fhir.example.org"), undefined);
    assert.equal(await resolves(guard, "fhir.example.org"), undefined);
    assert.match(String(await resolves(guard, "fhir.example.org")), /loopback/);
  });

  it("is one address for who dials one, and nowhere for a name that is not known", async () => {
    const guard = createGuard("fhir.example.org", (host, _options, done) => {
      if (host !== "fhir.example.org") return done(new Error("not known"), []);
      done(null, [
        { address: "8.8.8.8", family: 4 },
        { address: "2001:4860:4860::8888", family: 6 },
      ]);
    });
    const dialled = (host: string) =>
      new Promise((resolve) => guard.lookup(host, {}, (...given) => resolve(given)));
    assert.deepEqual(await dialled("fhir.example.org"), [null, "8.8.8.8", 4]);
    assert.deepEqual(await dialled("elsewhere"), [new Error("not known"), []]);
  });

  const spool = {
    readNote: () => Promise.resolve(undefined),
    writeNote: () => Promise.resolve(),
  } as unknown as Spool;

  it("is free for `tokenUrl`, for the token alone: no file is read there", async () => {
    const tokens: string[] = [];
    const issue: Interceptor = ({ url, headers }, response) => {
      if (url.pathname !== "/token") return false;
      tokens.push(headers.host ?? "");
      send(response, 200, '{"access_token":"t"}', { "content-type": "application/json" });
      return true;
    };
    const output = [{ type: "Patient", lines: ['{"resourceType":"Patient"}'] }];
    // Not a loopback address, and yet this machine.
    const bulk = createBulk({ output, requiresAccessToken: false, filesAt: "http://0.0.0.0:1" });
    const server = await startFhir({ resources: [] }, [issue, bulk.intercept]);
    const issuer = server.origin.replace("127.0.0.1", "0.0.0.0");
    try {
      const auth = { tokenUrl: `${issuer}/token`, clientId: "app", clientSecret: "hidden" };
      const config = v.parse(fhirBulk.config, { url: server.base, export: "system", auth });
      await assert.rejects(collect(readFhirBulk(config, testContext({ spool }))), {
        code: "source-refused",
        message: /leads to a reserved address/,
      });
      assert.deepEqual(tokens, [new URL(issuer).host]);
      assert.equal(bulk.kickOffs.length, 1);
    } finally {
      await server.close();
    }
  });

  it("is asked before a file elsewhere is read", async () => {
    const output = [{ type: "Patient", lines: ['{"resourceType":"Patient"}'] }];
    const bulk = createBulk({
      output,
      requiresAccessToken: false,
      filesAt: "http://169.254.169.254",
    });
    const server = await startFhir({ resources: [] }, [bulk.intercept]);
    try {
      const config = v.parse(fhirBulk.config, { url: server.base, export: "system" });
      const context = testContext({ spool });
      await assert.rejects(collect(readFhirBulk(config, context)), {
        code: "source-refused",
        message: /leads to a link-local address/,
      });
    } finally {
      await server.close();
    }
  });
});
