import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import * as v from "valibot";
import { PipelineError, type ErrorCode } from "../../../../src/errors.ts";
import { fhir, readFhir } from "../../../../src/stages/sources/fhir.ts";
import { collect, testContext } from "../../../contract/stage-contract.ts";
import {
  makeObservations,
  outcomeText,
  send,
  sendOutcome,
  startFhir,
  type Interceptor,
  type SeenRequest,
  type TestFhirServer,
} from "../../../servers/fhir.ts";

const resources = makeObservations(60);
const expected = resources
  .filter(({ type }) => type === "Observation")
  .map(({ text }) => `${text}\n`)
  .join("");

type Fault = (request: SeenRequest, response: ServerResponse) => boolean;

const isPage = ({ url }: SeenRequest) => url.searchParams.has("_getpages");
const isSearch = ({ url }: SeenRequest) => !url.searchParams.has("_summary");
const bundle = (parts: object) =>
  JSON.stringify({ resourceType: "Bundle", type: "searchset", ...parts });
const next = (url: string) => [{ relation: "next", url }];
const observation = (id: string, versionId = "1") => ({
  resource: { resourceType: "Observation", id, meta: { versionId } },
});

describe("fhir meets faults", () => {
  const servers: TestFhirServer[] = [];
  after(() => Promise.all(servers.map((server) => server.close())));

  /** A search of 60 resources in 6 pages, against a server with a fault. */
  async function read(intercept: Interceptor, config: object = {}, warnings: string[] = []) {
    const server = await startFhir({ resources, intercept });
    servers.push(server);
    const parsed = v.parse(fhir.config, {
      url: server.base,
      search: "Observation",
      count: 10,
      ...config,
    });
    const log = { info() {}, warn: (message: string) => void warnings.push(message) };
    const batches = await collect(readFhir(parsed, testContext({ log })));
    return {
      server,
      text: Buffer.concat(batches.map(({ bytes }) => bytes)).toString(),
      end: batches.at(-1)?.end,
    };
  }

  /** Breaks the first so many requests that `fits`, each in the same way. */
  const atFirst = (many: number, fits: (request: SeenRequest) => boolean, fault: Fault): Fault => {
    let left = many;
    return (request, response) => fits(request) && left-- > 0 && fault(request, response);
  };

  const refuses = (work: Promise<unknown>, code: ErrorCode, message: RegExp) =>
    assert.rejects(work, (error: unknown) => {
      assert.ok(error instanceof PipelineError, String(error));
      assert.match(error.message, message);
      assert.equal(error.code, code, error.message);
      assert.doesNotMatch(error.message, /secret|555-0199/);
      return true;
    });
  /** Every search answers with this; counts say nothing. */
  const always =
    (body: string, headers: Record<string, string> = {}, status = 200): Fault =>
    (request, response) => {
      send(response, status, isSearch(request) ? body : bundle({}), headers);
      return true;
    };

  it("asks again when told to wait, when the server is in trouble, and when the line breaks", async () => {
    for (const fault of [
      (_: SeenRequest, response: ServerResponse) => (
        sendOutcome(response, 429, "throttled", { "retry-after": "0" }),
        true
      ),
      (_: SeenRequest, response: ServerResponse) => (sendOutcome(response, 503, "transient"), true),
      (_: SeenRequest, response: ServerResponse) => (response.destroy(), true),
    ]) {
      const { text } = await read(atFirst(2, isPage, fault));
      assert.equal(text, expected);
    }
  });

  it("reads a page again that is cut off, wherever, and gives each resource once", async () => {
    for (const part of [0.1, 0.5, 0.99]) {
      const pages: string[] = [];
      const whole = await startFhir({ resources });
      servers.push(whole);
      const { text } = await read(async (request, response) => {
        if (!isPage(request) || pages.includes(request.url.search)) return false;
        pages.push(request.url.search);
        const body = await pageOf(
          whole,
          Number(request.url.searchParams.get("_getpagesoffset")),
          request,
        );
        response.writeHead(200, {
          "content-type": "application/fhir+json",
          "content-length": body.length,
        });
        response.write(body.slice(0, body.length * part), () => response.destroy());
        return true;
      });
      assert.equal(pages.length, 5);
      assert.equal(text, expected);
    }
  });

  it("stops where a page that broke off has other resources when it is read again", async () => {
    let times = 0;
    const fault: Fault = (request, response) => {
      if (!isSearch(request)) return false;
      times += 1;
      const entry = [observation(times === 1 ? "a" : "z"), observation("b"), observation("c")];
      const body = bundle({ entry });
      response.writeHead(200, {
        "content-type": "application/fhir+json",
        "content-length": body.length,
      });
      if (times > 1) response.end(body);
      else response.write(body.slice(0, -60), () => response.destroy());
      return true;
    };
    await refuses(read(fault, { totals: "none" }), "source-changed", /^search 1, page 1 broke off/);
  });

  it("stops when next links lead in a circle, however long", async () => {
    for (const length of [1, 2, 7]) {
      const fault: Fault = (request, response) => {
        const at = Number(request.url.searchParams.get("at") ?? 0);
        const link = next(`/fhir?at=${(at % length) + 1}`);
        send(response, 200, bundle({ link, entry: [observation(`o${at}`)] }));
        return true;
      };
      await refuses(
        read(fault, { totals: "none" }),
        "source-failed",
        /next links lead in a circle/,
      );
    }
  });

  it("follows no next link to another host, scheme or port, and sends nothing there", async () => {
    const foreign = await startFhir({ resources });
    servers.push(foreign);
    for (const url of [
      `${foreign.base}?_getpages=1`,
      "https://127.0.0.1/fhir",
      "http://user@127.0.0.1/",
      "file:///etc/passwd",
    ]) {
      const fault = always(bundle({ link: next(url), entry: [observation("o1")] }));
      await refuses(read(fault, { auth: { token: "secret" } }), "source-refused", /another host/);
    }
    assert.equal(foreign.requests.length, 0);
  });

  it("follows a redirect on the server itself, and none to another host", async () => {
    const redirect = (to: string) =>
      atFirst(1, isPage, ({ url }, response) => {
        response.writeHead(302, { location: `${to}${url.pathname}${url.search}` }).end();
        return true;
      });
    assert.equal((await read(redirect(""))).text, expected);
    await refuses(
      read(redirect("http://localhost:1"), { auth: { token: "secret" } }),
      "source-refused",
      /another host/,
    );
  });

  it("says how to go on when the server has forgotten the pages of a search", async () => {
    const fault = atFirst(
      1,
      isPage,
      (_, response) => (sendOutcome(response, 410, "expired"), true),
    );
    await refuses(
      read(fault),
      "source-failed",
      /^search 1, page 2: .* forgotten the pages .* run again/,
    );
  });

  it("cuts copies across pages, and keeps two versions of a resource", async () => {
    const pages = [
      ["a", "b"],
      ["b", "c"],
      ["c2", "a"],
    ];
    const fault: Fault = (request, response) => {
      const at = Number(request.url.searchParams.get("at") ?? 0);
      const entry = pages[at]!.map((id) => observation(id[0]!, id[1] ?? "1"));
      const link = at < 2 ? next(`/fhir?at=${at + 1}`) : [];
      send(response, 200, bundle({ link, entry }));
      return true;
    };
    const { text, end } = await read(fault, { totals: "none" });
    const ids = text
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { id: string; meta: { versionId: string } });
    assert.deepEqual(
      ids.map(({ id, meta }) => id + meta.versionId),
      ["a1", "b1", "c1", "c2"],
    );
    assert.equal(end?.consistency.proof["duplicatesCut"], 2);
  });

  it("counts no OperationOutcome as data, and fails where one says that the search failed", async () => {
    const outcome = (severity: string) => ({
      resource: JSON.parse(outcomeText(severity, "incomplete")) as object,
      search: { mode: "outcome" },
    });
    const warnings: string[] = [];
    const fine = always(bundle({ entry: [observation("a"), outcome("warning")] }));
    const { text } = await read(fine, {}, warnings);
    assert.equal(text.split("\n").length, 2);
    assert.deepEqual(warnings, ["fhir: search 1, page 1: the server says warning: incomplete"]);
    const failed = always(bundle({ entry: [observation("a"), outcome("error")] }));
    await refuses(read(failed), "source-failed", /the server says error: incomplete/);
    await refuses(
      read(always(outcomeText("fatal", "exception"))),
      "source-failed",
      /fatal: exception/,
    );
  });

  it("refuses what is no searchset in JSON with UTF-8, and says where it breaks", async () => {
    const whole = bundle({ entry: [observation("a"), observation("b")] });
    const cases: [string, RegExp, Record<string, string>?][] = [
      [
        "<html>",
        /answered with text\/html, .*expected application\/fhir\+json/,
        { "content-type": "text/html" },
      ],
      [whole, /iso-8859-1/, { "content-type": "application/json; charset=ISO-8859-1" }],
      [whole, /expected content-encoding identity/, { "content-encoding": "gzip" }],
    ];
    for (const [body, message, headers] of cases)
      await refuses(read(always(body, headers)), "source-refused", message);
    const broken: [string, RegExp][] = [
      [whole.slice(0, -1), /^search 1, page 1: cut off/],
      [`${whole}{}`, /page 1: more after its end/],
      [whole.replace('"id":"b"', '"id":b'), /page 1, resource 2: broken JSON/],
      [whole.replace('"resourceType":"Observation"', '"x":1'), /resource 1: no resourceType/],
      [whole.replace('"entry"', '"entries"').replace('"Bundle"', '"List"'), /not a Bundle/],
      [bundle({ entry: [{ fullUrl: "urn:x" }] }), /an entry that holds no resource/],
      [bundle({ link: [...next("a"), ...next("b")] }), /no link to one next page/],
      [bundle({ entry: [observation("x".repeat(5000))] }), /a resource is larger than maxRecord/],
    ];
    for (const [body, message] of broken)
      await refuses(read(always(body), { maxRecord: 4096 }), "source-bad-data", message);
  });

  it("refuses a body whose end cannot be proved", async () => {
    const fault: Fault = (_, response) => {
      const { socket } = response;
      const head =
        "HTTP/1.1 200 OK\r\ncontent-type: application/fhir+json\r\nconnection: close\r\n\r\n";
      socket?.end(`${head}${bundle({})}`);
      return true;
    };
    await refuses(read(fault, { totals: "none" }), "source-refused", /Content-Length or chunked/);
  });

  it("refuses headers of any size and metadata of any size", async () => {
    const large = always(bundle({}), { "x-large": "x".repeat(40_000) });
    await refuses(read(large), "source-refused", /headers are longer than 32768 bytes/);
    const count: Fault = (request, response) => {
      if (isSearch(request)) return false;
      send(response, 200, " ".repeat(300_000));
      return true;
    };
    await refuses(read(count), "source-refused", /an answer is longer than 262144 bytes/);
  });

  /** Answers the counts of a run one after another; null is a count without a total. */
  const countsOf =
    (...totals: readonly (number | null)[]): Fault =>
    (request, response) => {
      if (isSearch(request)) return false;
      const [total = null, ...later] = totals;
      totals = later;
      send(response, 200, bundle(total === null ? {} : { total }));
      return true;
    };

  it("takes fewer than counted only where the server by then counts no more than it gave", async () => {
    assert.equal((await read(countsOf(61, 60))).end?.rows, 60);
    assert.equal((await read(countsOf(61, 59))).end?.rows, 60);
    await refuses(
      read(countsOf(120, 119)),
      "source-failed",
      /counts 120 resources before and 119 after, but gave 60;/,
    );
    await refuses(read(countsOf(90, 120)), "source-failed", /90 resources before and 120 after/);
    await refuses(
      read(countsOf(120, null)),
      "source-failed",
      /counts 120 resources before and gives no total after, but gave 60;.*`totals: none`/,
    );
  });

  it("takes different parts of a resource for no copies, and the same part for one", async () => {
    const parts =
      (meta: object): Fault =>
      (request, response) => {
        const part = request.url.searchParams.get("part") ?? "";
        const resource = { resourceType: "Observation", id: "1", meta, [part]: "x" };
        send(response, 200, bundle({ total: 1, entry: [{ resource }, { resource }] }));
        return true;
      };
    const search = ["Observation?part=status", "Observation?part=note"];
    const subset = { versionId: "1", tag: [{ code: "SUBSETTED" }] };
    const config = { totals: "none" };
    assert.equal((await read(parts(subset), { search, ...config })).end?.rows, 2);
    const untold = parts({ versionId: "1" });
    for (const ask of ["_elements=id", "_summary=true", "_elements:exclude=id"]) {
      const asked = search.map((one) => `${one}&${ask}`);
      assert.equal((await read(untold, { search: asked, ...config })).end?.rows, 2, ask);
    }
    assert.equal((await read(untold, { search, ...config })).end?.rows, 1);
  });

  it("takes no copy within a search for one that another search lost", async () => {
    const page: Fault = (request, response) => {
      const entry = [observation("1"), observation("1")];
      send(response, 200, bundle(isSearch(request) ? { entry } : { total: 2 }));
      return true;
    };
    const search = ["Observation?a=1", "Observation?a=2"];
    await refuses(read(page, { search }), "source-failed", /counts 4 resources .* but gave 2;/);
  });

  it("says how to read a server that does not count", async () => {
    const uncounted: Fault = (request, response) =>
      !isSearch(request) && (sendOutcome(response, 400, "not-supported"), true);
    await refuses(
      read(uncounted),
      "source-refused",
      /refused \(400, error: not-supported\).*`totals: none`/,
    );
    assert.equal((await read(uncounted, { totals: "none" })).end?.rows, 60);
  });

  it("waits no longer than its deadline for a silent server", async () => {
    const silent: Fault = (_, response) => {
      response.writeHead(200, { "content-type": "application/fhir+json", "content-length": 100 });
      response.write("{");
      return true;
    };
    const reading = read(atFirst(1, isPage, silent), { timeout: 150 });
    assert.equal((await reading).text, expected);
  });

  it("says what the server refused with by its codes alone", async () => {
    const refused: Fault = (_, response) => (sendOutcome(response, 403, "forbidden"), true);
    await refuses(
      read(refused),
      "source-refused",
      /refused \(403, error: forbidden\); check `auth`/,
    );
  });
});

/** A page as the whole server gives it, its snapshot made on the way. */
async function pageOf(
  server: TestFhirServer,
  offset: number,
  { url }: SeenRequest,
): Promise<string> {
  let page = await fetch(`${server.base}/Observation?_count=10`);
  for (let at = 10; at <= offset; at += 10) {
    const { link } = (await page.json()) as { link: { relation: string; url: string }[] };
    page = await fetch(link.find(({ relation }) => relation === "next")!.url);
  }
  const text = await page.text();
  // The next link is the broken server's own.
  return text
    .replaceAll(server.base, url.origin + "/fhir")
    .replaceAll(/_getpages=[^&"]+/g, `_getpages=${url.searchParams.get("_getpages")}`);
}
