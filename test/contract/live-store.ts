/** What a real object store is asked beyond the contract, whatever it speaks: it tells what is missing, and keeps what is told. */
import assert from "node:assert/strict";
import type { Destination } from "../../src/stages/destinations/destination.ts";
import type { HttpConnection } from "../../src/stages/destinations/http-exchange.ts";
import { destinationContract, expectError, objectOf, readAll } from "./destination-contract.ts";

const never = new AbortController().signal;

/** A program that keeps objects, and the place in it where they lie. */
export interface LiveServer<Server> {
  /** For people, with the programs that it takes. */
  readonly name: string;
  readonly isInstalled: () => boolean;
  readonly start: () => Promise<Server>;
  /** Asks the bucket, or what is called so there, past the destination. */
  readonly connect: (server: Server) => HttpConnection;
  /** Makes the bucket. */
  readonly makeQuery?: Readonly<Record<string, string>>;
}

/** Registers the hooks of the file that calls it; its tests are skipped where the program is not installed. */
export function useLiveServer<Server extends { stop(): Promise<void> }>(kind: LiveServer<Server>) {
  let server: Server | undefined;
  let direct: HttpConnection | undefined;
  let round = 0;
  before(async function () {
    if (!kind.isInstalled()) {
      console.log(`      ${kind.name} is not installed: not tested here`);
      this.skip();
    }
    this.timeout(60_000);
    server = await kind.start();
    direct = kind.connect(server);
    const headers = { "content-length": "0" };
    const query = kind.makeQuery ?? {};
    const made = await direct.send({ method: "PUT", query, headers }, never);
    assert.ok(made.status < 300, `${made.status}`);
  });
  after(async () => {
    direct?.close();
    await server?.stop();
  });
  return {
    get server(): Server {
      return server!;
    },
    get direct(): HttpConnection {
      return direct!;
    },
    /** Below which objects are to lie; full of marks that a signature may trip over. */
    get folder(): string {
      return `round ${round}/+ü&`;
    },
    /** Leaves what lies there behind. */
    moveOn: async () => void (round += 1),
  };
}

export interface LiveStore {
  readonly live: ReturnType<typeof useLiveServer>;
  open(): Promise<Destination>;
  /** The same below a bucket, or what is called so there, that does not exist. */
  openNowhere(): Promise<Destination>;
  /** Before the names of what is kept beside an object. */
  readonly metaPrefix: string;
  /** What a put of bytes with another MD5 needs beside it, and says. */
  readonly damaged: { readonly headers: Record<string, string>; readonly says: RegExp };
}

export function checkLiveStore(store: LiveStore): void {
  const { live } = store;
  destinationContract(store.open, live.moveOn);

  it("tells a missing object from a missing bucket", async () => {
    const destination = await store.open();
    await expectError("not-found", readAll(destination, "p/r/nothing"));
    await destination.close();
    const elsewhere = await store.openNowhere();
    await expectError("destination-refused", readAll(elsewhere, "p/r/nothing"));
    await expectError("destination-refused", elsewhere.put(objectOf("p/r/x", "x"), never));
    await elsewhere.close();
  });

  it("keeps digest and trace beside the object", async () => {
    const destination = await store.open();
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const object = { ...objectOf("p/r/traced", "x"), traceparent };
    await destination.put(object, never);
    await destination.close();
    const name = `${live.folder}/p/r/traced`;
    const answer = await live.direct.send({ method: "HEAD", name }, never);
    answer.drop();
    const { metaPrefix } = store;
    const sha256 = Buffer.from(object.sha256).toString("hex");
    assert.equal(answer.header(`${metaPrefix}traceparent`), traceparent);
    assert.equal(answer.header(`${metaPrefix}sha256`), sha256);
  });

  it("has bytes refused that do not fit their MD5", async () => {
    const { headers, says } = store.damaged;
    const told = { "content-length": "7", "content-md5": "1B2M2Y8AsgTpgAmy7PhCfg==", ...headers };
    const body = Buffer.from("changed");
    const request = { method: "PUT", name: "damaged", body, headers: told } as const;
    const answer = await live.direct.send(request, never);
    assert.equal(answer.status, 400);
    assert.match(await answer.text(65_536), says);
  });
}
