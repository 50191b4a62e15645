/** Destination `sftp:` before a server that fails in every way of the script, and lies. */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { openSftp } from "../../../src/stages/destinations/sftp.ts";
import { type FaultyStore, destinationFaults } from "../../contract/destination-faults.ts";
import { expectError, listAll, objectOf } from "../../contract/destination-contract.ts";
import { patience } from "../../contract/http-store-faults.ts";
import {
  type Call,
  type Play,
  type ScriptedSftp,
  startScriptedSftp,
} from "../../servers/scripted-sftp.ts";
import { allExtensions, answers, status } from "../../servers/sftp-packets.ts";

const never = new AbortController().signal;
const [patientMillis, hastyMillis] = [5000, 200];
const root = "/some/prefix";
const trusted = "what a server says it has written and synced is believed; `verify` reads it";
const oneStatus = "SFTP has one status for all that fails; the case without room plays it";

const does =
  (code: number): Play =>
  (call) =>
    call.say(answers.status(call.id, code));
const fails = does(status.failure);
const hangUp: Play = (call) => call.hangUp("reset");
const silent: Play = () => {};
const unheard: Play = (call) => {
  call.act();
  call.hangUp("end");
};
const doneAndDenied: Play = (call) => {
  call.act();
  fails(call);
};
const cut =
  (by: "end" | "reset"): Play =>
  (call) => {
    call.say(call.act().subarray(0, 10));
    setImmediate(() => call.hangUp(by));
  };
const dribble: Play = (call) => {
  const bytes = call.act();
  let at = 0;
  const timer = setInterval(() => {
    if (at >= bytes.length) clearInterval(timer);
    else call.say(bytes.subarray(at, (at += 1)));
  }, 20);
};
const webPage: Play = (call) => call.say(Buffer.from("HTTP/1.1 200 OK\r\n\r\n<html></html>"));
const yes = does(status.ok);
/** Of the page, behind its first pieces. */
const midway = (call: Call) => call.offset >= 100_000;
const isPage = ({ path }: Call) => path.endsWith("/page");

describe("destination sftp before a server that fails and lies", () => {
  let server: ScriptedSftp;
  let ill = false;
  let undo = () => {};
  const empty = () => {
    server.files.clear();
    server.folders.clear();
    for (const folder of ["/", "/some"]) server.folders.add(folder);
  };
  before(async () => {
    server = await startScriptedSftp();
    empty();
  });
  after(() => server.stop());
  afterEach(async () => {
    const unnamed = [...server.files.keys()].filter((path) => path.includes("/.incoming-"));
    assert.deepEqual(unnamed, [], "nothing unfinished stays");
    for (let left = 100; server.connections > 0 && left > 0; left -= 1) await sleep(10);
    assert.equal(server.connections, 0, "no connection stays");
  });

  const once =
    (on: Call["verb"], play: Play, times = 1, when?: (call: Call) => boolean) =>
    () => {
      for (let i = 0; i < times; i += 1) server.faults.push({ on, play, ...(when && { when }) });
    };
  const always =
    (on: Call["verb"], play: Play, when: (call: Call) => boolean = () => true) =>
    () => {
      server.script = (call) => {
        if (call.verb !== on || !when(call)) return undefined;
        ill = true;
        return play;
      };
    };
  /** What becomes of those who come anew. */
  const anew = (way: () => void) => () => {
    server.drop();
    way();
  };
  const unlinked = (way: () => void) => () => {
    server.extensions = [];
    anew(way)();
  };
  const strangers = () => anew(() => void (server.isStranger = true))();
  const expired = anew(once("login", (call) => call.refuse()));
  const open = (hasty = false) =>
    openSftp(
      new URL(`sftp://tester@127.0.0.1:${server.port}${root}`),
      { timeoutMillis: hasty ? hastyMillis : patientMillis, sftp: server.login },
      { ...patience, attempts: hasty ? 2 : patience.attempts },
    );

  destinationFaults({
    persists: true,
    mostAsked: 1500,
    open,
    stored: async (name) => server.files.get(`${root}/${name}`)?.bytes,
    async plant(name, bytes) {
      for (const folder of ["", "/p", "/p/r"]) server.folders.add(root + folder);
      server.files.set(`${root}/${name}`, { bytes: Buffer.from(bytes), changed: 1 });
    },
    came: () => server.faults.length === 0 && (server.script === undefined || ill),
    asked: () => server.requests.length,
    strayed: () => server.strayed,
    heal() {
      server.faults.length = 0;
      server.script = undefined;
      server.isStranger = false;
      server.extensions = allExtensions;
      server.renames = "honour";
      server.foldsCase = false;
      ill = false;
      undo();
      undo = () => {};
    },
    reset: async () => empty(),
    foldCase: () => void (server.foldsCase = true),
    writing: {
      "stores and loses the answer": once("link", unheard),
      "loses the request": once("open", hangUp, 2),
      "breaks off in the middle of the request": once("write", hangUp, 1, midway),
      "ends in the middle of the answer": once("fstat", cut("end")),
      "resets in the middle of the answer": once("fstat", cut("reset")),
      "damages the bytes on their way": "each packet of SSH is checked; a relay tries it",
      "takes less at a time than it is given": "SFTP takes a piece or refuses it",
      "has no room for a while": always("write", fails, midway),
      "is busy for a while": once("open", fails, 2),
      "is busy for ever, and says for how long": "SSH does not say for how long",
      "is busy for ever": anew(always("connect", hangUp)),
      "is flooded for a while": anew(once("connect", hangUp)),
      "fails for ever": oneStatus,
      "never answers": always("open", silent),
      "answers byte by byte": always("lstat", dribble),
      "takes the request byte by byte": always("write", (call) => call.stall()),
      "refuses before it has read": once("open", does(status.denied)),
      "says that credentials have expired": () => expired(),
      "says that the clock is off": "SSH asks no clock",
      "sends elsewhere": strangers,
      "sends elsewhere for a while": "who is another once is refused; the case before plays it",
      "says success and an error, and stores nothing": () => {
        let isOver = false;
        server.script = ({ verb }) => {
          ill ||= verb === "write";
          isOver ||= verb === "fstat";
          return verb === "write" && !isOver ? yes : undefined;
        };
      },
      "says success with a web page, and stores nothing": once("write", webPage),
      "says nothing of what it stored": once("fstat", (call) =>
        call.say(answers.attributes(call.id, { isFolder: false, changed: 1 })),
      ),
      "names another digest": once("fstat", (call) =>
        call.say(answers.attributes(call.id, { isFolder: false, changed: 1, size: 300_001 })),
      ),
      "answers twice": once("write", (call) => {
        call.serve();
        call.say(answers.status(call.id, status.failure));
      }),
      "keeps a part": trusted,
      "keeps other bytes": trusted,
      "keeps an empty object": trusted,
      "shows what it stored only later": () => {
        once("link", unheard)();
        once("lstat", does(status.noFile), 1, isPage)();
      },
      "ignores conditions": unlinked(() => void (server.renames = "overwrite")),
      "refuses conditions": unlinked(() => {}),
    },
    ofItsKind: {
      "opens a file and loses the answer": { way: once("open", unheard), ends: "mended" },
      "closes a file and loses the answer": { way: once("close", unheard), ends: "mended" },
      "syncs and loses the answer": { way: once("fsync", unheard), ends: "mended" },
      "renames and loses the answer": { way: unlinked(once("rename", unheard)), ends: "mended" },
      "renames and says it failed": {
        way: unlinked(once("rename", doneAndDenied)),
        ends: "stored",
      },
      "links and says it failed": { way: once("link", doneAndDenied), ends: "stored" },
      "forgets its handles": { way: once("write", fails, 1, midway), ends: "mended" },
      "cannot sync for a while": { way: once("fsync", fails), ends: "mended" },
      "ends the program that speaks SFTP": {
        way: once("write", (call) => call.quit(), 1, midway),
        ends: "mended",
      },
      "falls silent for a while": { way: once("open", silent), ends: "mended", endless: true },
      "says yes and gives no handle": { way: always("open", yes), ends: "destination-failed" },
      "says yes and tells nothing": { way: always("fstat", yes), ends: "destination-failed" },
      "keeps less than it says": { way: always("write", yes, midway), ends: "destination-failed" },
      "has a quota, and says so in the words of a later version": {
        way: always("write", does(15), midway),
        ends: "destination-failed",
      },
      "offers no SFTP": {
        way: anew(once("subsystem", (call) => call.refuse())),
        ends: "destination-refused",
      },
      "greets with a text": { way: anew(once("init", webPage)), ends: "destination-refused" },
    },
    reading: {
      "gives less at a time than it is asked for": once(
        "read",
        (call) => {
          const bytes = server.files.get(call.path)!.bytes.subarray(call.offset, call.offset + 7);
          call.say(answers.data(call.id, bytes));
        },
        3,
      ),
      "ends in the middle": once("read", does(status.end), 2, midway),
      "resets in the middle": once("read", hangUp, 1, midway),
      "is busy for a while": once("open", fails, 2),
      "is busy for ever": always("connect", hangUp),
      "never answers": always("open", silent),
      "falls silent in the middle, again and again": always("read", silent, midway),
      "gives a byte at a time": always("read", (call) => {
        const { bytes } = server.files.get(call.path)!;
        setTimeout(() => {
          call.say(answers.data(call.id, bytes.subarray(call.offset, call.offset + 1)));
        }, 1);
      }),
      "ends early, again and again": always("read", does(status.end), midway),
      "does not say how long it is": always("fstat", (call) =>
        call.say(answers.attributes(call.id, { isFolder: false, changed: 1 })),
      ),
      "changes the object in the middle": once(
        "read",
        (call) => {
          const kept = server.files.get(call.path)!;
          undo = () => void server.files.set(call.path, kept);
          server.files.set(call.path, { bytes: Buffer.alloc(kept.bytes.length, "X"), changed: 2 });
          call.hangUp("reset");
        },
        1,
        midway,
      ),
      "says that credentials have expired": () => expired(),
      "sends elsewhere": strangers,
    },
    listing: {
      "gives less at a time than it is asked for": once("readdir", (call) =>
        call.say(answers.names(call.id, [])),
      ),
      "ends in the middle": once("readdir", cut("end"), 2),
      "is busy for a while": once("opendir", fails, 2),
      "never answers": always("readdir", silent),
      "answers byte by byte": always("readdir", dribble),
      "repeats a page": always("readdir", (call) => {
        call.say(answers.names(call.id, [{ name: "a", isFolder: false, size: 1, changed: 1 }]));
      }),
      "goes round in a circle": always("opendir", (call) => {
        const below = `${call.path}/x`;
        server.folders.add(below);
        undo = () => {
          for (const path of server.folders) if (path.endsWith("/x")) server.folders.delete(path);
        };
        call.serve();
      }),
      "cuts a page short": always("readdir", (call) =>
        call.say(answers.names(call.id, [{ name: "a", isFolder: false, size: 1, changed: 1 }], 2)),
      ),
      "mixes the order": "servers list folders in any order; names are sorted here",
      "says success and an error": always("readdir", yes),
      "answers with a web page": always("readdir", webPage),
      "never ends a page": always("readdir", (call) => {
        call.say(Buffer.from([0, 3, 0xff, 0xff]));
        const timer = setInterval(() => call.say(Buffer.from(" ")), 5);
        setTimeout(() => clearInterval(timer), 2000).unref();
      }),
      "says that credentials have expired": () => expired(),
      "sends elsewhere": strangers,
    },
  } satisfies FaultyStore);

  it("asks nothing of a handle over another connection than its own", async () => {
    const destination = await open();
    const [one, other] = [
      objectOf("p/r/one", Buffer.alloc(600_000, "1")),
      objectOf("p/r/other", Buffer.alloc(600_000, "2")),
    ];
    for (const object of [one, other]) await destination.put(object, never);
    const [first, second] = [one, other].map(({ name }) =>
      destination.get(name, never)[Symbol.asyncIterator](),
    ) as [AsyncIterator<Uint8Array>, AsyncIterator<Uint8Array>];
    await first.next();
    server.drop();
    await sleep(50);
    // The first handle of the new connection is called as the one of the old was.
    await second.next();
    const { value } = (await first.next()) as IteratorYieldResult<Uint8Array>;
    assert.ok(value.every((byte) => byte === "1".charCodeAt(0)));
    await destination.close();
  });

  it("takes no yes of a server for a link where the name has other bytes, and asks for none again", async () => {
    const destination = await open();
    always("link", yes)();
    server.requests.length = 0;
    await destination.put(objectOf("p/x", "x"), never);
    await expectError("foreign-object", destination.put(objectOf("p/x", "y"), never));
    assert.equal(destination.conditional, false);
    assert.equal(server.requests.filter((request) => request.startsWith("link ")).length, 2);
    assert.equal(String(server.files.get(`${root}/p/x`)?.bytes), "x");
    const later = await open();
    await expectError("foreign-object", later.put(objectOf("p/x", "y"), never));
    server.script = undefined;
    for (const one of [destination, later]) await one.close();
  });

  it("closes what it opened to compare, also where reading fails", async () => {
    const destination = await open();
    const object = objectOf("p/x", "x");
    await destination.put(object, never);
    server.requests.length = 0;
    once("read", fails)();
    await destination.put(object, never);
    const count = (verb: string) =>
      server.requests.filter((request) => request === `${verb} ${root}/p/x`).length;
    assert.deepEqual([count("open"), count("close")], [2, 2]);
    await destination.close();
  });

  it("closes what it wrote to, also where the content or the server fails", async () => {
    const destination = await open();
    const object = objectOf("p/x", Buffer.alloc(600_000, "x"));
    const breaksOff = function* () {
      yield Buffer.alloc(300_000, "x");
      throw new Error("cannot be read");
    };
    const bytes = { length: 600_000, read: breaksOff };
    server.requests.length = 0;
    await assert.rejects(destination.put({ ...object, bytes }, never), /cannot be read/);
    once("write", fails, 1, midway)();
    await destination.put(object, never);
    const count = (verb: string) =>
      server.requests.filter((request) => request.startsWith(`${verb} ${root}/p/.incoming-`))
        .length;
    assert.deepEqual([count("open"), count("close")], [3, 3]);
    await destination.close();
  });

  it("listens for ever to no server that never ends a listing, neither for it nor before a put", async () => {
    const page = (name: string) => ({ name, isFolder: false, size: 1, changed: 1 });
    const pages = [[], [page("a"), page("b")]];
    for (const told of pages) {
      let asked = 0;
      always("readdir", (call) => {
        if ((asked += 1) > 100) call.hangUp("reset");
        else call.say(answers.names(call.id, told));
      })();
      const destination = await open(true);
      await expectError("destination-failed", destination.put(objectOf("p/x", "x"), never));
      await expectError("destination-failed", listAll(destination));
      await destination.close();
    }
  });

  it("lists no name that leads elsewhere", async () => {
    always("readdir", (call) => {
      call.say(answers.names(call.id, [{ name: "../../x", isFolder: true, size: 1, changed: 1 }]));
    })();
    const destination = await open();
    await destination.put(objectOf("p/x", "x"), never).catch(() => undefined);
    await expectError("destination-failed", listAll(destination));
    await destination.close();
  });
});
