import assert from "node:assert/strict";
import { readFile, readdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openDesk, pipelineText, rowsText, type Desk, type Started } from "./spawn-cli.ts";

const day = 86_400_000;
const today = new Date(Math.floor(Date.now() / day) * day).toISOString();

/** Rows pass once the file `open` is there. */
const gate = `import { existsSync } from "node:fs";
export default async (row) => {
  while (!existsSync("open")) await new Promise((later) => setTimeout(later, 50));
  return row;
};
`;

const scheduled = (name: string, cron = "0 0 * * *", more = "") =>
  `${pipelineText({ name, stages: ["./gate.mjs"] })}schedule: { cron: "${cron}"${more} }\n`;

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

describe("serve", function () {
  this.timeout(60_000);
  let desk: Desk;
  const servers = new Set<Started>();
  before(async () => {
    desk = await openDesk();
    await desk.write("rows.ndjson", rowsText(300));
    await desk.write("gate.mjs", gate);
  });
  afterEach(async () => {
    for (const { child, ended } of servers) {
      child.kill("SIGKILL");
      await ended;
    }
    servers.clear();
  });
  after(() => desk.remove());

  const until = async (what: () => boolean | Promise<boolean>, told: () => string) => {
    for (let tries = 0; !(await what()); tries += 1) {
      if (tries > 600) assert.fail(told());
      await sleep(50);
    }
  };

  const says = (server: Started, text: RegExp) =>
    until(() => text.test(server.stderr()), server.stderr);

  async function serve(...args: readonly string[]) {
    const server = desk.start(["serve", ...args, "--listen", "127.0.0.1:0"]);
    servers.add(server);
    await says(server, /serving \d+ pipelines/);
    const url = /http:\/\/[\d.]+:\d+/.exec(server.stderr())![0];
    const status = async () => (await (await fetch(`${url}/status`)).json()) as Status;
    return { ...server, url, status };
  }

  interface Status {
    readonly ready: boolean;
    readonly config: string;
    readonly pipelines: readonly {
      readonly name: string;
      readonly next: string;
      readonly last: { readonly slot: string; readonly outcome: string } | null;
    }[];
  }

  /** The slot of two days ago is done, so that today's is missed. */
  async function seed(name: string): Promise<string> {
    const file = await desk.write(`${name}.yaml`, scheduled(name));
    await desk.write("open", "");
    const slot = new Date(Date.parse(today) - 2 * day).toISOString();
    const first = await desk.json(["run", file, "--slot", slot]);
    assert.deepEqual([first.code, first.document.slot], [0, slot]);
    return file;
  }

  const exportsOf = (name: string) => readdir(join(desk.folder, "out", name));
  const doneSlot = async (name: string) =>
    (
      JSON.parse(await readFile(join(desk.folder, "spool", name, "slot.json"), "utf8")) as {
        slot: string;
      }
    ).slot;

  it("runs at each slot, tells how it goes, and ends cleanly", async () => {
    await desk.write("open", "");
    const file = await desk.write("often.yaml", scheduled("often", "*/3 * * * * *"));
    const server = await serve(file);
    const answers = await Promise.all(
      ["healthz", "readyz", "status", "x"].map((path) => fetch(`${server.url}/${path}`)),
    );
    assert.deepEqual(
      answers.map(({ status }) => status),
      [200, 200, 200, 404],
    );
    assert.equal((await fetch(`${server.url}/status`, { method: "POST" })).status, 405);
    await until(async () => (await exportsOf("often").catch(() => [])).length >= 2, server.stderr);
    server.child.kill("SIGTERM");
    const { code, stderr } = await server.ended;
    assert.equal(code, 0, stderr);
    assert.match(stderr, /often: slot .*Z committed \(run /);
  });

  it("makes one export for a slot, whoever runs it and however often", async () => {
    const file = await seed("twice");
    const args = ["run", file, "--slot", today];
    const first = await desk.json(args);
    const second = await desk.json(args);
    assert.deepEqual([first.code, second.code], [0, 0]);
    assert.equal(second.document.runId, first.document.runId);
    assert.match(second.stderr, /slot .* is done, by run/);
    assert.equal((await exportsOf("twice")).length, 2);
    for (const none of ["tomorrow", "2026-02-30T02:30:00Z", "2026-04-31T23:00:00-02:00"])
      assert.equal((await desk.cli(["run", file, "--slot", none])).code, 2, none);
  });

  it("makes one export for a slot when a server is killed and others begin", async () => {
    const file = await seed("killed");
    await unlink(join(desk.folder, "open"));
    const first = await serve(file);
    await desk.until("spool/killed/run.json");
    first.child.kill("SIGKILL");
    await first.ended;
    // Its run goes on by itself, and holds the lock.
    const second = await serve(file);
    await says(second, /killed: slot .* skipped \(exit 7/);
    await desk.write("open", "");
    await until(async () => (await doneSlot("killed")) === today, second.stderr);
    assert.equal((await exportsOf("killed")).length, 2);
  });

  it("finishes what an earlier slot left, and then runs for the slot in the same call", async () => {
    const file = await seed("earlier");
    await unlink(join(desk.folder, "open"));
    const yesterday = new Date(Date.parse(today) - day).toISOString();
    const cutOff = desk.start(["run", file, "--slot", yesterday]);
    await desk.until("spool/earlier/run.json");
    cutOff.child.kill("SIGTERM");
    assert.equal((await cutOff.ended).code, 75);
    await desk.write("open", "");
    const { code, document, stderr } = await desk.json(["run", file, "--slot", today]);
    assert.deepEqual([code, document.slot], [0, today], stderr);
    assert.match(stderr, /which an earlier call had left, is committed/);
    assert.equal((await exportsOf("earlier")).length, 3);
    assert.equal(await doneSlot("earlier"), today);
  });

  it("takes up what a stop cut off, for the same slot", async () => {
    const file = await seed("stopped");
    await unlink(join(desk.folder, "open"));
    const first = await serve(file);
    await desk.until("spool/stopped/run.json");
    await until(
      async () =>
        /"attempts"/.test(await readFile(join(desk.folder, "spool/stopped/run.json"), "utf8")),
      first.stderr,
    );
    first.child.kill("SIGTERM");
    const { code, stderr } = await first.ended;
    assert.equal(code, 0);
    assert.match(stderr, /stopped: slot .* stopped \(exit 75/);
    await desk.write("open", "");
    const second = await serve(file);
    await says(second, /was cut off; it goes on/);
    await says(second, /committed \(run/);
    assert.equal(await doneSlot("stopped"), today);
    assert.equal((await exportsOf("stopped")).length, 2);
  });

  it("ends at once at the second Ctrl-C, with a run that hears nothing", async () => {
    const busy = `import { renameSync, writeFileSync } from "node:fs";
export default () => {
  writeFileSync("busy.new", String(process.pid));
  renameSync("busy.new", "busy.pid");
  for (;;);
};\n`;
    await desk.write("busy.mjs", busy);
    const stages = pipelineText({ name: "busy", stages: ["./busy.mjs"] });
    const file = await desk.write("busy.yaml", `${stages}schedule: { cron: "* * * * * *" }\n`);
    const { child, ended, stderr } = await serve(file);
    await desk.until("busy.pid");
    const run = Number(await readFile(join(desk.folder, "busy.pid"), "utf8"));
    child.kill("SIGINT");
    await until(() => /stopping; runs are stopped/.test(stderr()), stderr);
    await sleep(400); // less would be one key press
    child.kill("SIGINT");
    assert.equal((await ended).code, 130);
    await until(
      () => !isAlive(run),
      () => `${run} lives on`,
    );
  });

  it("reads its files again when asked, and keeps what it had of a broken one", async () => {
    const file = await desk.write("again.yaml", scheduled("again", "0 3 * * *"));
    const server = await serve(file);
    const next = async () => (await server.status()).pipelines[0]!.next.slice(11, 16);
    assert.equal(await next(), "03:00");
    await desk.write("again.yaml", scheduled("again", "0 4 * * *"));
    server.child.kill("SIGHUP");
    await says(server, /config is current/);
    assert.equal(await next(), "04:00");
    await desk.write("again.yaml", scheduled("again", "0 99 * * *"));
    server.child.kill("SIGHUP");
    await says(server, /config is stale/);
    assert.match(server.stderr(), /again\.yaml:\d+:\d+: schedule\.cron/);
    const { config, ready } = await server.status();
    assert.deepEqual([config, ready, await next()], ["stale", true, "04:00"]);
  });

  it("refuses what it could not serve, at once", async () => {
    const plain = await desk.write("plain.yaml", pipelineText());
    const nothing = await desk.cli(["serve", plain]);
    assert.deepEqual(
      [nothing.code, /no pipeline there has a `schedule`/.test(nothing.stderr)],
      [2, true],
    );
    const broken = await desk.write("broken.yaml", scheduled("broken", "99 * * * *"));
    const told = await desk.cli(["serve", broken]);
    assert.deepEqual(
      [told.code, /broken\.yaml:\d+:\d+: schedule\.cron/.test(told.stderr)],
      [2, true],
    );
    const fine = await desk.write("fine.yaml", scheduled("fine"));
    const deaf = await desk.cli(["serve", fine, "--listen", "nowhere"]);
    assert.deepEqual([deaf.code, /--listen/.test(deaf.stderr)], [2, true]);
  });
});
